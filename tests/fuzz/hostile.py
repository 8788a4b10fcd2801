"""What fuzzing shares: hostile values, mutations of bytes and of documents, and the judge of what became of them.

``ESTRAN_FUZZ=N`` tries N times as many examples; ``benchmarks/fuzz.py`` goes on for minutes, each round with other seeds.
"""

from __future__ import annotations

import copy
import io
import json
import os
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from cyclopts import CycloptsError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from estran.cli.main import app
from estran.errors import EstranError

TIMES = int(os.environ.get("ESTRAN_FUZZ", "1"))
COLLECTED = os.environ.get("ESTRAN_FUZZ_COLLECT", "")
"""A folder: what is found is written there, each defect once, and does not end a test."""
SECONDS = 60.0
MEMORY = 1 << 30
"""What one example may take at most: far more than any needs, far less than what would harm a machine."""

_CHECKS = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def examples(count: int) -> settings:
    """So many examples, times ``ESTRAN_FUZZ``."""
    return settings(max_examples=count * TIMES, suppress_health_check=_CHECKS)


def collect(error: BaseException) -> None:
    """Note a defect, once for each place in Estran that it comes from, and go on."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/estran/" in frame.filename]
    at = f"{frames[-1].filename.rpartition('/estran/')[2]}:{frames[-1].lineno}" if frames else "nowhere"
    place = Path(COLLECTED, f"{type(error).__name__} {at}".replace("/", "."))
    if not place.exists():
        place.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")


class Hung(BaseException):
    """It took too long; no `Exception`, so that nobody catches it on the way."""


@contextmanager
def bounded(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Fail what hangs, and what makes this process grow by more than ``memory`` bytes beyond its highest mark."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Hung(f"it took more than {seconds:g} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    earlier = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except (Exception, Hung) as error:
        if isinstance(error, EstranError) or not COLLECTED:
            raise
        collect(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < memory, f"it took {grown >> 20} MiB"


def judged(call: Callable[[], Any]) -> EstranError | None:
    """Call it: done, or refused with an error of ours that says something. Whatever else it raises is a defect."""
    found = None
    with bounded():
        try:
            call()
        except EstranError as error:
            found = error
        assert found is None or (found.what.strip() and "Traceback" not in str(found))
    return found


def verb(*argv: str) -> str | None:
    """Say a verb as the command line does; what it printed, or None if it was refused."""
    out = io.StringIO()

    def said() -> None:
        with redirect_stdout(out), redirect_stderr(io.StringIO()), suppress(CycloptsError):
            app([*argv], exit_on_error=False, print_error=False, result_action="return_value")

    return out.getvalue() if judged(said) is None else None


# Values

DIGITS = "@digits@"
DEEP = "@deep@"
_WRITTEN = {f'"{DIGITS}"': "9" * 5000, f'"{DEEP}"': "[" * 3000 + "]" * 3000}

HOSTILE = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            -1,
            0,
            1,
            2**31,
            2**63,
            2**64,
            -(2**63) - 1,
            10**400,
            1e308,
            5e-324,
            -0.0,
            float("inf"),
            float("nan"),
            "",
            " ",
            "\0",
            "\ud800",
            "\ufeff",
            "é" * 3,
            "x" * 10_000,
            "1e400",
            "1e400s",
            "-1s",
            "nan",
            "inf",
            "9" * 5000,
            "../../x",
            "/etc/passwd",
            "/dev/zero",
            "~",
            "${x}",
            "${",
            "{{ x }}",
            "{% for",
            "=cmd",
            "<script>",
            "'; DROP",
            "%s%n",
            "\n",
            "\t",
            "[red]",
            "[/]",
            "done",
            "running",
            "2026-01-01T00:00:00Z",
            "9999-99-99",
            [],
            {},
            [[]],
            [None],
            [{}],
            {"": None},
            {"a": []},
            DIGITS,
            DEEP,
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.recursive(
        st.none() | st.text(max_size=2) | st.integers(-2, 2),
        lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(max_size=2), one, max_size=2),
        max_leaves=3,
    ),
)
"""Stand where something else should."""

NUL, BOM = b"\0", b"\xef\xbb\xbf"
BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9 if n else ['lol'] * 9)}]\n" for n in range(10))
"""A billion laughs."""

TOKENS = [
    NUL,
    BOM,
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\r",
    b"\t",
    b"\n",
    b" ",
    b"",
    b"\xe2\x80\xa8",
    b"\x85",
    b"\x1b[2J",
    b"&a ",
    b"*a",
    b"&a [*a]",
    b"<<: ",
    b"!!python/object/apply:os.system [x]",
    b"!!binary x",
    b"!!int x",
    b"!!timestamp x",
    b"!x ",
    b"? ",
    b"- " * 50,
    b"[" * 5000,
    b"{" * 3000,
    b"a: " * 50,
    b"'",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"|",
    b">",
    b"#",
    b"%YAML 9.9\n",
    b"---\n",
    b"...\n",
    b"1e400",
    b"9" * 5000,
    b"-" + b"9" * 5000,
    b"0x" + b"f" * 5000,
    b"0b2",
    b".inf",
    b".nan",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"1:30",
    b"0o8",
    b"${",
    b"${x}",
    b"$$",
    b"${placement}",
    b"{{ x }}",
    b"{{",
    b"}}",
    b"{%",
    b"{# ",
    b"../",
    b"/",
    b",",
    b":",
    b": ",
    b"=",
    b"*",
    b"[",
    b"]",
    b"{",
    b"}",
    b"<=",
    b"within",
    b"%",
    b"\xc2\xb5s",
    b"ms",
]


@st.composite
def mutated_bytes(draw: st.DrawFn, data: bytes, *, most: int = 4) -> bytes:
    """A few bytes changed, cut out, put in, doubled or cut off; or nothing of it left."""
    if draw(st.integers(0, 30)) == 0:
        return draw(st.binary(max_size=64) | st.sampled_from(TOKENS))
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12) | st.integers(0, max(len(data) // 2, 1)))
        match draw(st.sampled_from(["flip", "cut", "insert", "replace", "double", "end", "move"])):
            case "flip" if place < len(data):
                data = data[:place] + bytes([data[place] ^ draw(st.integers(1, 255))]) + data[place + 1 :]
            case "cut":
                data = data[:place] + data[place + length :]
            case "insert":
                data = data[:place] + draw(st.sampled_from(TOKENS) | st.binary(max_size=4)) + data[place:]
            case "replace":
                data = data[:place] + draw(st.sampled_from(TOKENS)) + data[place + length :]
            case "double":
                data = data[:place] + data[place : place + length] * 2 + data[place + length :]
            case "move":
                there = draw(st.integers(0, len(data)))
                data = data[:place] + data[there : there + length] + data[place:]
            case _:
                data = data[:place]
    return data


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all parts of a document, itself first."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


@st.composite
def mutated_document(draw: st.DrawFn, document: Any, *, most: int = 2) -> Any:
    """Plain data with a few parts replaced by hostile ones, removed, renamed, nested or swapped."""
    data = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        all_places = places(data)
        place = draw(st.sampled_from(all_places))
        if not place:
            if len(all_places) == 1 or draw(st.integers(0, 20)) == 0:
                data = draw(HOSTILE)
            continue
        holder = _at(data, place[:-1])
        key = place[-1]
        match draw(st.sampled_from(["replace", "replace", "delete", "rename", "nest", "swap", "double"])):
            case "replace":
                holder[key] = draw(HOSTILE)
            case "delete":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.text(max_size=6) | st.sampled_from(["../x", "a/b", "__class__", "\0", "x" * 300]))] = holder.pop(key)
            case "nest":
                holder[key] = draw(st.sampled_from([[holder[key]], {"a": holder[key]}]))
            case "double" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case _:
                holder[key] = copy.deepcopy(_at(data, draw(st.sampled_from(all_places))))
    return data


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def as_json(data: Any) -> bytes:
    """JSON, with what no document could hold written out: numbers of 5000 digits, lists in 3000 lists."""
    text = json.dumps(data)
    for name, written in _WRITTEN.items():
        text = text.replace(name, written)
    return text.encode()


@st.composite
def mutated_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file whose document was changed, or its bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(mutated_bytes(content))
    return as_json(draw(mutated_document(json.loads(content))))


@st.composite
def mutated_lines(draw: st.DrawFn, content: bytes) -> bytes:
    """A file of one JSON object a line, of which one was changed; or some lines are missing, doubled or in another order."""
    lines = content.splitlines()
    if not lines or draw(st.integers(0, 2)) == 0:
        return draw(mutated_bytes(content))
    place = draw(st.integers(0, len(lines) - 1))
    match draw(st.sampled_from(["change", "change", "cut", "double", "first"])):
        case "change":
            lines[place] = as_json(draw(mutated_document(json.loads(lines[place]))))
        case "cut":
            del lines[place]
        case "double":
            lines.insert(place, lines[place])
        case _:
            lines.insert(0, lines.pop(place))
    return b"\n".join(lines) + b"\n"


@st.composite
def mutated_csv(draw: st.DrawFn, content: bytes) -> bytes:
    """A table with a cell or a line changed."""
    rows = [line.split(b",") for line in content.split(b"\n")]
    if draw(st.integers(0, 2)) == 0:
        return draw(mutated_bytes(content))
    row = rows[draw(st.integers(0, len(rows) - 1))]
    place = draw(st.integers(0, len(row) - 1))
    row[place] = draw(st.sampled_from(TOKENS) | st.text(max_size=5).map(lambda text: text.encode("utf-8", "replace")))
    return b"\n".join(b",".join(row) for row in rows)


def mutated_file(name: str, content: bytes) -> st.SearchStrategy[bytes]:
    """A file changed as its kind suggests."""
    if name.endswith((".json", ".jsonld")):
        return mutated_json(content)
    if name.endswith((".jsonl", ".log")) and content.startswith(b"{"):
        return mutated_lines(content)
    if name.endswith(".csv"):
        return mutated_csv(content)
    return mutated_bytes(content)


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """A file has other content, or is not there, for a while."""
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(before)


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """What is written below a folder meanwhile is as before afterwards."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        yield
    finally:
        for path in folder.rglob("*"):
            if path.is_file() and path not in before:
                path.unlink()
        for path, content in before.items():
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)


def files_of(folder: Path, *skipped: str) -> Mapping[str, bytes]:
    """Content of a folder's files by their paths in it."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: content for name, content in found.items() if not name.endswith(skipped)}

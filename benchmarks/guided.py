"""One target of guided fuzzing, in a process of its own: ``python benchmarks/guided.py TARGET`` and what libFuzzer takes.

It needs ``pip install atheris``; see `fuzz.py`, which starts it. A defect is written into ``ESTRAN_FUZZ_COLLECT`` and does not
end it; a hang, or memory without bound, does.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["estran"]):
    from estran.errors import EstranError
    from estran.observe.queries import list_runs, open_run
    from estran.platforms.agent_host import AgentHost
    from estran.platforms.remote.frames import FrameLink
    from estran.platforms.remote.host import RemoteHost
    from estran.reproduce.layout import SEAL, Asked, Binding, Crate, Packed, Part, encode
    from estran.reproduce.opening import inspect
    from estran.runtime import wire
    from estran.runtime.control import Link, pack
    from estran.spec import load_text
    from estran.spec.e2clab import read_scenario
from tests.fuzz import test_control, test_wire
from tests.fuzz.hostile import collect
from tests.observe.folders import hop, write_folder
from tests.spec.e2clab.scenarios import DIALECTS, write

Target = tuple[Callable[[bytes], object], list[bytes]]
"""What is done with bytes, and bytes to begin with."""


def experiment(place: Path) -> Target:
    """Files of experiments."""
    return (lambda data: load_text(data.decode("utf-8", "surrogateescape"))), [
        path.read_bytes() for path in sorted(Path("examples").glob("*/experiment.yaml"))
    ]


def _replacing(folder: Path, contents: dict[str, bytes], call: Callable[[], object]) -> Target:
    """The first byte says which file of a folder is replaced by the rest."""
    names = sorted(contents)

    def replaced(data: bytes) -> object:
        path = folder / names[data[0] % len(names) if data else 0]
        before = path.read_bytes()
        path.write_bytes(data[1:])
        try:
            return call()
        finally:
            path.write_bytes(before)

    return replaced, [bytes([number]) + contents[name] for number, name in enumerate(names)]


def e2clab(place: Path) -> Target:
    """Scenarios of E2Clab."""
    files = {f"{number}/{name}": text for number, one in enumerate(DIALECTS.values()) for name, text in one.items()}
    for number, one in enumerate(DIALECTS.values()):
        write(place / str(number), one)
    names = sorted(files)

    def replaced(data: bytes) -> object:
        name = names[data[0] % len(names) if data else 0]
        (place / name).write_bytes(data[1:])
        try:
            return read_scenario((place / name).parent)
        finally:
            (place / name).write_text(files[name])

    return replaced, [bytes([number]) + files[name].encode() for number, name in enumerate(names)]


def messages(place: Path) -> Target:
    """Frames of streams."""
    return (lambda data: wire.decode(memoryview(data), test_wire.Payload)), [test_wire.FRAME]


def record(place: Path) -> Target:
    """Folders of runs."""
    folder = write_folder(place / "runs" / "a" / "r1", {"messages": [hop(n, n * 0.1) for n in range(3)]})
    plan = {
        "replicas": [{"name": "a-0", "service": "a", "host": "h-0"}],
        "hosts": [{"name": "h-0", "device": {"cores": 2, "speed": 1.0}}],
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    contents = {path.name: path.read_bytes() for path in folder.glob("*.json")}

    def read() -> object:
        list_runs(place / "runs")
        run = open_run(folder)
        return run.replicas, run.capacities, run.responses

    return _replacing(folder, contents, read)


def crate(place: Path) -> Target:
    """Crates: a whole zip file, or after a first byte 1 the document of one that is sealed with it."""
    path = place / "a.zip"

    def read(data: bytes) -> object:
        path.write_bytes(_sealed(data[1:]) if data[:1] == b"\1" else data[1:])
        return inspect(path)

    text = encode(
        Crate(
            kind="run", experiment="a", id="r1", status="done", ended=None, asked=Asked(verb="run", file="a.yaml", seed=1),
            parts=(Part(layer="edge", hosts=1, device="d", cores=1, speed=1.0, memory=1.0, services=("a",)),),
            binding=Binding(platform="simulate", on="simulate"), estran="1",
            files=(Packed(path="a.yaml", role="description", size=1, sha256="sha256:" + hashlib.sha256(b"a").hexdigest()),),
        )
    )  # fmt: skip
    assert read(b"\1" + text)
    return read, [b"\0" + _sealed(text), b"\1" + text]


def _sealed(document: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("crate.json", document)
        archive.writestr("a.yaml", b"a")
        archive.comment = (SEAL + hashlib.sha256(document).hexdigest()).encode()
    return packed.getvalue()


class _Closed(test_control.Kept):
    def is_closing(self) -> bool:
        return False

    async def wait_closed(self) -> None: ...


def control(place: Path) -> Target:
    """What an agent, or after a first byte 1 an envoy, says to the controller, with a request of each kind under way."""

    async def heard(data: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data[1:])
        reader.feed_eof()
        if data[:1] == b"\1":
            remote = RemoteHost("a", FrameLink(reader, _Closed()))
            asked = [remote.run(["x"]), remote.open(["x"]), remote.clock_offset(1), remote.get("x", place / "x"), remote.arrived()]
            serving = remote.serve()
        else:
            agent = AgentHost("a", Link(reader, _Closed()))
            asked = [agent.run(["x"]), agent.get("x", place / "x"), agent.go(1)]
            serving = agent.serve()
        waiting = [asyncio.ensure_future(one) for one in asked]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await serving
            for found in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(found, Exception) and not isinstance(found, EstranError):
                    raise found
        assert list(place.iterdir()) in ([], [place / "x"])

    envoy = [b"\1" + test_control._framed(json.dumps(one).encode(), b"ab") for one in test_control.NEWS]
    replies = [
        {"reply": 0, "ok": {"returncode": 0, "stdout": b"", "stderr": b""}},
        {"reply": 1, "ok": b""},
        {"say": "ready", "replica": "a"},
    ]
    return (lambda data: asyncio.run(heard(data))), [*envoy, *(b"\0" + pack(one) for one in replies)]


TARGETS = {one.__name__: one for one in (experiment, e2clab, messages, record, crate, control)}


def _judged(call: Callable[[bytes], object], data: bytes) -> None:
    try:
        call(data)
    except EstranError:
        return
    except Exception as error:  # noqa: BLE001 - whatever else it is, is a defect
        collect(error)


def _prepare(corpus: Path, seeds: list[bytes]) -> Path:
    """Write seeds and a dictionary of the words in them."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:20]).write_bytes(seed)
    words = sorted({word.decode() for seed in seeds for word in re.findall(rb"[A-Za-z_]{3,24}", seed)})
    dictionary = corpus.with_name(corpus.name + ".dict")
    dictionary.write_text("".join(f'"{word}"\n' for word in words[:500]))
    return dictionary


def main() -> None:
    """Fuzz until libFuzzer ends the process; ``argv``: the target, the folder of its corpus, options of libFuzzer."""
    name, corpus, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        call, seeds = TARGETS[name](Path(place))
        dictionary = _prepare(Path(corpus), seeds)
        atheris.Setup([sys.argv[0], corpus, f"-dict={dictionary}", *options], partial(_judged, call))
        atheris.Fuzz()


if __name__ == "__main__":
    main()

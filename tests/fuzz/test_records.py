"""Records that were cut short, edited, or made by somebody with ill intent: each verb refuses them with one message, or goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.observe.store import LIVE, recover
from estran.optimize.optimize import reopen as reopen_optimisation
from estran.study.study import reopen as reopen_study
from estran.web.app import make_app
from estran.web.gate import Access
from estran.web.index import key_of

from .hostile import TIMES, bounded, changed, examples, judged, kept, mutated_file, verb

pytestmark = pytest.mark.timeout(600 * TIMES)  # making the records takes long on a busy machine

RUN = [
    ("show", "{run}"),
    ("show", "{run}", "--json"),
    ("ls", "{above}"),
    ("ls", "{above}", "--json"),
    ("logs", "{run}"),
    ("report", "{run}"),
    ("compare", "{run}", "{run}"),
    ("compare", "{run}", "{run}", "--json"),
    ("calibrate", "{run}", "--out", "{tmp}/calibration.json"),
    ("export", "{run}", "--to", "crate", "--out", "{tmp}/crates"),
    ("export", "{run}", "--to", "prov", "--out", "{tmp}/prov.json"),
]
STUDY = [
    ("explain", "{run}"),
    ("explain", "{run}", "--json"),
    ("report", "{run}"),
    ("compare", "{run}", "{run}"),
    ("export", "{run}", "--to", "crate", "--out", "{tmp}/crates"),
]
OPTIMISATION = [
    ("show", "{run}"),
    ("show", "{run}", "--json"),
    ("report", "{run}"),
    ("export", "{run}", "--to", "crate", "--out", "{tmp}/crates"),
]
VERBS = {"run": RUN, "flow": RUN, "live": RUN[:6], "study": STUDY, "optimisation": OPTIMISATION}
SKIPPED = (".html", ".pyc", ".part", "-wal", "-shm", ".lock", ".patch", ".zip")
UNREAD = ("/logs/", "parts.py", "environment.json")


def _names(folder: Path) -> list[str]:
    """Files that verbs read: the record's own, and those of one of its runs."""
    found = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.name.endswith(SKIPPED)
    )
    runs = sorted({name.rpartition("/")[0] for name in found if name.endswith("run.json")} - {""})
    return [name for name in found if not any(name.startswith(run + "/") for run in runs[1:])]


def _said(argv: Sequence[str], folder: Path, place: Path) -> str | None:
    above = folder.parent.parent
    return verb(*(word.format(run=folder, above=above, tmp=place) for word in argv))


@pytest.mark.parametrize("kind", VERBS)
@examples(24)
@given(data=st.data())
def test_damaged_records(folders: Mapping[str, Path], tmp_path: Path, kind: str, data: st.DataObject) -> None:
    folder = folders[kind]
    with kept(folder):
        name = data.draw(st.sampled_from(_names(folder)))
        content = data.draw(st.none() | mutated_file(name, (folder / name).read_bytes()))
        argv = data.draw(st.sampled_from(VERBS[kind]))
        with changed(folder / name, content):
            _said(argv, folder, tmp_path)


@pytest.mark.parametrize("kind", VERBS)
def test_whole_records_are_told_by_every_verb(folders: Mapping[str, Path], tmp_path: Path, kind: str) -> None:
    """Else the fuzzing beside would not come far."""
    with kept(folders[kind]):
        told = {argv: _said(argv, folders[kind], tmp_path) for argv in VERBS[kind] if argv[0] != "calibrate"}
    assert {argv for argv, text in told.items() if text is None} == set()


@pytest.mark.parametrize("kind", ["study", "optimisation"])
@examples(14)
@given(data=st.data())
def test_records_that_are_gone_on_with(folders: Mapping[str, Path], kind: str, data: st.DataObject) -> None:
    folder = folders[kind]
    name = data.draw(st.sampled_from([name for name in _names(folder) if "/" not in name]))
    with kept(folder), changed(folder / name, data.draw(st.none() | mutated_file(name, (folder / name).read_bytes()))):
        if kind == "study":
            judged(lambda: reopen_study(folder, None, ()))
        else:
            judged(lambda: reopen_optimisation(folder))


@examples(14)
@given(data=st.data())
def test_live_tables_are_recovered_or_refused(folders: Mapping[str, Path], data: st.DataObject) -> None:
    folder = folders["live"]
    with kept(folder), changed(folder / LIVE, data.draw(mutated_file(LIVE, (folder / LIVE).read_bytes()))):
        judged(lambda: recover(folder))


# The page

PATHS = [
    "/",
    "/run/{key}",
    "/api/list",
    "/api/run/{key}/drawing",
    "/api/run/{key}/stream",
    "/api/run/{key}/charts",
    "/api/run/{key}/logs",
    "/api/study/{key}",
    "/study/{key}",
    "/api/compare?of={key}&of={key}",
    "/api/compare?kind=study&of={key}&of={key}",
    "/metrics",
    "/run/{key}/report",
    "/study/{key}/pages/0",
]
QUERIES = st.dictionaries(
    st.sampled_from(["width", "start", "end", "after", "name", "text", "of", "kind", "known", "token", "to"]),
    st.sampled_from(
        ["inf", "-inf", "nan", "1e400", "9" * 5000, "-1", "0", "", "%00", "%ff", "%ed%a0%80", "..%2f..", "[", "(", "%0a", "1e9"]
    ),
    max_size=3,
)


async def _asked(app: Any, access: Access, path: str, query: str, method: str = "GET") -> int:
    """The status of the answer of one request; what the server itself does not catch is raised here."""
    headers = {"host": f"127.0.0.1:{access.port}", "cookie": f"{access.cookie}={access._session}"}
    headers |= {"origin": f"http://127.0.0.1:{access.port}", "x-estran-csrf": access.csrf}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", access.port),
        "client": ("127.0.0.1", 1),
    }
    statuses = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    (status,) = statuses
    return int(status)


@pytest.mark.parametrize("kind", VERBS)
@examples(14)
@given(data=st.data())
def test_the_page_of_damaged_records(folders: Mapping[str, Path], kind: str, data: st.DataObject) -> None:
    folder = folders[kind]
    path = data.draw(st.sampled_from(PATHS))
    with kept(folder):
        name = data.draw(st.sampled_from(_names(folder)))
        content = data.draw(st.none() | mutated_file(name, (folder / name).read_bytes()))
        path, _, query = path.format(key=key_of(folder)).partition("?")
        with changed(folder / name, content), bounded():
            access = Access(1)
            app = make_app([folder.parents[1]], access, ending=lambda: True)
            assert asyncio.run(_asked(app, access, path, query)) in (200, 404, 409, 500)


@examples(35)
@given(path=st.sampled_from(PATHS), query=QUERIES)
def test_the_page_asked_for_anything(folders: Mapping[str, Path], path: str, query: Mapping[str, str]) -> None:
    folder = folders["study" if "study" in path else "run"]
    path, _, before = path.format(key=key_of(folder)).partition("?")
    access = Access(1)
    app = make_app([folder.parents[1]], access, ending=lambda: True)
    text = "&".join([before, *(f"{name}={value}" for name, value in query.items())])
    with bounded():
        assert asyncio.run(_asked(app, access, path, text)) in (200, 404)

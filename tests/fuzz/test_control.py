"""Whatever is said over control connections: to an agent, to an envoy, by a host's envoy to the controller. See `hostile`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import struct
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from estran.errors import EstranError, PlatformError
from estran.platforms.remote.agents import unpack_files
from estran.platforms.remote.envoy import LENGTHS, Envoy
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.host import RemoteHost
from estran.run.collector import Collector
from estran.runtime.agent import Agent
from estran.runtime.control import Link, pack
from estran.runtime.launch import Launch
from tests.runtime.agents import running_agent

from .hostile import HOSTILE, bounded, examples, judged, mutated_bytes, mutated_document

REQUESTS = [
    {"id": 1, "do": "stop", "replica": "a-0", "grace": 1.0},
    {"id": 2, "do": "get", "path": "/nowhere", "offset": 0, "size": 10},
    {"id": 3, "do": "start", "launch": {"replica": "a-0"}},
    {"id": 4, "do": "task", "path": "nowhere:nothing", "settings": {}},
    {"id": 5, "do": "go", "origin_ns": 1},
    {"id": 6, "do": "run", "argv": ["true"], "timeout": 5.0},
]


def _packed(frame: Any) -> bytes:
    try:
        return pack(frame)
    except Exception:  # noqa: BLE001 - what cannot be said needs no answer
        return b"\x05\0\0\0hello"


SAID = st.lists(
    st.one_of(
        st.sampled_from(REQUESTS).map(_packed),
        st.sampled_from(REQUESTS).flatmap(mutated_document).map(_packed),
        st.sampled_from(REQUESTS).flatmap(lambda request: mutated_bytes(pack(request))),
        st.sampled_from(
            [struct.pack("<I", 2**32 - 1), struct.pack("<I", 2**28), pack({"do": "exit", "id": 9}), pack({}), b"\1\0\0\0\xc1"]
        ),
    ),
    max_size=6,
).map(b"".join)


@examples(20)
@given(said=SAID)
def test_an_agent_hears_anything(said: bytes) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        agent = Agent("host-0", await Link.over(theirs), time.monotonic_ns())
        serving = asyncio.ensure_future(agent.serve())
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(said)
        writer.write_eof()
        async with asyncio.timeout(20):
            await reader.read()
            await asyncio.wait([serving])
        writer.close()
        error = serving.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert error is None or isinstance(error, EstranError), error

    with bounded():
        asyncio.run(main())


class Kept:
    """A writer that keeps what is written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None: ...

    def close(self) -> None: ...


def _framed(head: bytes, body: bytes = b"") -> bytes:
    return LENGTHS.pack(len(head), len(body)) + head + body


ORDERS = [
    {"id": 1, "do": "clock"},
    {"id": 2, "do": "have", "path": "x", "sha256": "0", "mode": None},
    {"id": 3, "do": "stop", "name": "x", "grace": 0.1},
    {"id": None, "do": "piece", "of": 4, "path": "a/b"},
    {"id": 4, "do": "put", "path": "a/b", "sha256": "x", "mode": 384},
    {"id": 5, "do": "get", "path": "x"},
    {"id": None, "do": "write", "of": 6},
    {"id": 7, "do": "call", "function": "a.b", "details": {}},
    {"id": 8, "do": "undo", "argv": ["true"]},
]
HARMLESS = (
    st.none()
    | st.integers(-5, 5)
    | st.text("ab", max_size=3)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text("a"), st.none())
)


@st.composite
def orders(draw: st.DrawFn) -> bytes:
    """Orders of which parts are wrong, but none that names a file of this machine, for an envoy does as it is told."""
    order = dict(draw(st.sampled_from(ORDERS)))
    if draw(st.booleans()):
        key = draw(st.sampled_from(sorted(order)))
        if draw(st.booleans()):
            order.pop(key)
        else:
            order[key] = draw(HARMLESS) if key != "argv" else ["true"]
    head = json.dumps(order).encode()
    return _framed(
        draw(mutated_bytes(head)) if draw(st.integers(0, 4)) == 0 and order.get("do") != "undo" else head,
        draw(st.binary(max_size=8)),
    )


@examples(20)
@given(
    said=st.lists(orders(), max_size=6),
    end=st.sampled_from([b"", b"\0" * 3, b"\xff" * 8, _framed(b"[]"), _framed(b"[" * 5000), _framed(b"{}")]),
)
def test_an_envoy_hears_anything_and_leaves_nothing(said: list[bytes], end: bytes) -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"".join(said) + end)
        reader.feed_eof()
        envoy = Envoy(reader, Kept(), f"fuzz-{os.getpid()}", 0)  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            await envoy.serve()
        for task in list(envoy.tasks):
            task.cancel()
        assert not Path(envoy.scratch).exists()

    with bounded():
        asyncio.run(main())


NEWS = [
    {"say": "here", "facts": {"scratch": "/x"}},
    {"say": "output", "of": 1, "channel": "stdout"},
    {"reply": 0, "ok": {"returncode": 0, "sizes": [1, 1]}},
    {"reply": 0, "error": "no"},
    {"say": "piece", "of": 1},
    {"say": "ended", "name": "x", "status": 1},
    {"say": "shut", "of": 0, "status": 1},
    {"say": "taken", "of": 0, "count": 5},
    {"say": "pipe", "of": 0},
]


@examples(40)
@given(
    said=st.lists(st.sampled_from(NEWS).flatmap(lambda one: st.one_of(st.just(one), mutated_document(one))), max_size=6),
    end=st.sampled_from([b"", b"\0" * 3, b"\xff" * 8, _framed(b"[]"), _framed(b"[" * 5000), _framed(b'{"say": 1')]),
)
@example(said=[{"reply": 0}], end=b"")
@example(said=[{"say": "taken", "of": 1, "count": float("nan")}], end=b"")
@example(said=[{"say": "here", "facts": []}], end=b"")
@example(said=[{"say": "shut", "of": 0}], end=b"")
def test_a_controller_hears_anything_from_an_envoy(said: list[Any], end: bytes) -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"".join(_framed(json.dumps(one).encode(), b"ab") for one in said) + end)
        reader.feed_eof()
        host = RemoteHost("a", FrameLink(reader, Kept()))
        asked = [asyncio.ensure_future(one) for one in (host.ask("have", path="x"), host.open(["x"]))]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await host.serve()
            for one in asked:
                with suppress(PlatformError):
                    await one
        assert host.gone

    with bounded():
        asyncio.run(main())


def _archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("one", "sub/two"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
    return packed.getvalue()


@examples(40)
@given(packed=mutated_bytes(_archive()))
def test_whatever_a_host_sends_of_its_files(packed: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "run")
        judged(lambda: unpack_files(packed, folder))
        assert all(path == folder for path in Path(place).iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["x", "../x", "/tmp/x"])
def test_links_and_devices_of_a_host_are_refused(tmp_path: Path, kind: bytes, name: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(PlatformError):
        unpack_files(packed.getvalue(), tmp_path / "run")


SCRIBBLER = """
import os, socket, stat
from estran.runtime.component import Component

class Scribbler(Component):
    async def run(self) -> None:
        for fd in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode) and socket.socket(fileno=os.dup(fd)).family == socket.AF_UNIX:
                    os.write(fd, WHAT)
            except OSError:
                pass
        await self.clock.sleep(60)
"""


@pytest.mark.parametrize(
    "what", [b"\x01\0\0\0\xc1", b"\xff" * 8, msgspec.msgpack.encode(1), pack({"say": "rows", "table": 1}), pack({"say": 7})]
)
async def test_a_component_that_writes_where_only_estran_does_is_ended_alone(tmp_path: Path, what: bytes) -> None:
    if what == msgspec.msgpack.encode(1):
        what = struct.pack("<I", 1) + what
    (tmp_path / "scribbling.py").write_text(SCRIBBLER.replace("WHAT", repr(what)))
    async with running_agent() as agent:
        launch = Launch(
            "scribbler-0",
            "scribbler",
            0,
            1,
            "host-0",
            1,
            time.monotonic_ns(),
            component="scribbling:Scribbler",
            folder=str(tmp_path),
            experiment_folder=str(tmp_path),
        )
        await agent.host.start(launch.plain())
        await agent.wait_for("ready")
        await agent.host.go(time.monotonic_ns())
        ended = await agent.wait_for("ended")
        assert ended["failed"]
        assert "control frame" in ended["what"]
        assert (await agent.host.run(["true"])).returncode == 0  # the agent goes on


TOUCHY = """
from estran.runtime.component import Component

class Touchy(Component):
    def disturb(self, kind, settings):
        raise ValueError("not me")

    async def run(self) -> None:
        await self.clock.sleep(60)
"""


async def test_a_component_that_cannot_be_disturbed_ends_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "touchy.py").write_text(TOUCHY)
    async with running_agent() as agent:
        place = {"folder": str(tmp_path), "experiment_folder": str(tmp_path)}
        launch = Launch("touchy-0", "touchy", 0, 1, "host-0", 1, time.monotonic_ns(), component="touchy:Touchy", **place)
        await agent.host.start(launch.plain())
        await agent.wait_for("ready")
        await agent.host.go(time.monotonic_ns())
        await agent.host.tell("touchy-0", {"say": "disturb", "key": "k", "kind": "own", "settings": {}, "outputs": []})
        ended = await agent.wait_for("ended")
        assert ended["failed"]
        assert "not me" in ended["what"]


@pytest.mark.parametrize(
    "frame",
    [
        {"say": "rows", "origin_ns": "x", "table": "logs", "rows": [[0.0, "edge-0", "a-0", "log", "x"]]},
        {"say": "rows", "origin_ns": 1, "table": "logs", "rows": [[None, "edge-0", "a-0", "log", "x"]]},
        {"say": "rows", "origin_ns": 1, "table": "none", "rows": []},
    ],
)
async def test_rows_that_came_early_and_are_none_name_the_host(frame: Any) -> None:
    class Nothing:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    nothing: Any = Nothing()
    collector = Collector({}, (), nothing, nothing, nothing, nothing)
    collector._take("edge-0", frame)
    collector.begin(7)
    assert collector.failure.result().where == "edge-0"


@examples(20)
@given(value=HOSTILE)
def test_rows_that_are_none_fail_the_run_with_the_hosts_name(value: Any) -> None:
    heard: list[Any] = []

    class Probe(Collector):
        def __init__(self) -> None:
            self._origin_ns = 1

        def fail(self, error: EstranError) -> None:
            heard.append(error)

    for frame in (
        {"say": value},
        {"say": "rows", "origin_ns": value, "table": "logs", "rows": [value]},
        {"say": "ended", "replica": value},
    ):
        Probe()._take("edge-0", frame)
    assert all(error.where == "edge-0" for error in heard)

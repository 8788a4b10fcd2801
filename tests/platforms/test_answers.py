"""What a host or an agent answers that makes no sense ends with an error that names it, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from estran.errors import PlatformError
from estran.platforms.agent_host import AgentHost
from estran.platforms.remote.envoy import LENGTHS
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.host import PIECE, RemoteHost
from estran.runtime.control import Link, pack
from estran.tasks.connection import Worker


class Wire:
    """A connection whose other end is the test: what is asked is answered at once, by a function of the request."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any] = lambda head: None) -> None:
        self.reader = asyncio.StreamReader()
        self.answer = answer
        self.full = asyncio.Event()
        self.full.set()
        self.stuck, self.stuck_at = asyncio.Event(), ""
        self._asked = bytearray()

    def say(self, head: Any, body: bytes = b"") -> None:
        text = json.dumps(head).encode()
        self.reader.feed_data(LENGTHS.pack(len(text), len(body)) + text + body)

    def write(self, data: bytes) -> None:
        self._asked += data
        while len(self._asked) >= LENGTHS.size:
            head, body = LENGTHS.unpack_from(self._asked)
            if len(self._asked) < LENGTHS.size + head + body:
                return
            request = json.loads(self._asked[LENGTHS.size : LENGTHS.size + head])
            del self._asked[: LENGTHS.size + head + body]
            if request["do"] == self.stuck_at and not self.stuck.is_set():
                self.full.clear()
                self.stuck.set()
            if (told := self.answer(request)) is not None:
                self.say({"reply": request["id"], **told}, b"ab")

    async def drain(self) -> None:
        await self.full.wait()

    def close(self) -> None: ...


@asynccontextmanager
async def served(wire: Wire, **options: Any) -> AsyncIterator[RemoteHost]:
    host = RemoteHost("edge-0", FrameLink(wire.reader, wire), **options)
    serving = asyncio.create_task(host.serve())
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    try:
        yield host
    finally:
        wire.reader.feed_eof()
        await serving
    assert not complaints


@pytest.mark.parametrize(
    "told", [5, None, {}, {"returncode": 0}, {"returncode": "0", "sizes": [0, 0]}, {"returncode": 0, "sizes": 1}]
)
async def test_an_answer_of_other_types_names_the_host(told: Any, tmp_path: Path) -> None:
    async with served(Wire(lambda head: {"ok": told})) as host:
        for asked in (
            host.run(["true"]),
            host.start("a", ["a"], log="l") if told != 5 else host.run(["true"]),
            host.stop("a") if told not in (5, None) else host.run(["true"]),
            host.get("there", tmp_path / "here"),
            host.put_bytes(bytes(PIECE), "there"),
            host.clock_offset(),
        ):
            with pytest.raises(PlatformError) as raised:
                await asked
            assert raised.value.where == "edge-0"
        assert list(tmp_path.iterdir()) == []
        assert host.gone is None  # it may go on


async def test_facts_that_are_none_are_no_arrival() -> None:
    wire = Wire()
    async with served(wire) as host:
        wire.say({"say": "here", "facts": {"scratch": 5}})
        with pytest.raises(PlatformError, match="what cannot be understood"):
            await asyncio.wait_for(host.arrived(), 10)


async def test_a_host_that_goes_while_a_large_file_is_sent_is_not_waited_for(tmp_path: Path) -> None:
    wire = Wire(lambda head: {"ok": False} if head["do"] == "have" else None)
    async with served(wire) as host:
        wire.stuck_at = "piece"
        sending = asyncio.create_task(host.put_bytes(bytes(3 * PIECE), "there"))
        await asyncio.wait_for(wire.stuck.wait(), 10)
        wire.reader.feed_eof()
        await asyncio.sleep(0.01)
        wire.full.set()
        with pytest.raises(PlatformError, match="has ended"):
            await asyncio.wait_for(sending, 10)


async def test_a_host_that_speaks_again_when_it_was_given_up_is_not_heard() -> None:
    wire = Wire(lambda head: {"ok": 1} if head["do"] == "open" else None)
    async with served(wire, heartbeat=0.02) as host:
        pipe = await host.open(["x"])
        assert "does not answer" in await asyncio.wait_for(host.lost(), 10)
        wire.say({"say": "pipe", "of": 0}, b"late")
        assert await pipe.reader.read() == b""


async def test_a_beat_that_cannot_be_sent_is_no_complaint_when_the_host_is_given_up() -> None:
    wire = Wire()
    wire.full.clear()
    async with served(wire, heartbeat=0.02) as host:
        assert "does not answer" in await asyncio.wait_for(host.lost(), 10)
        del host
        import gc

        gc.collect()


@pytest.mark.parametrize("count", [float("nan"), -1, "1", None])
async def test_what_a_pipe_took_is_a_number(count: Any) -> None:
    wire = Wire(lambda head: {"ok": 1} if head["do"] == "open" else None)
    async with served(wire) as host:
        await host.open(["x"])
        wire.say({"say": "taken", "of": 0, "count": count})
        assert "what cannot be understood" in await asyncio.wait_for(host.lost(), 10)


class Sink:
    """Where an agent's requests go."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


@pytest.mark.parametrize(
    "said",
    [
        {"reply": 0},
        {"reply": [0], "ok": 1},
        {"reply": 0, "error": "no"},
        {"reply": 0, "error": {"what": 1}},
        {"reply": 0, "ok": 5},
        {"reply": 0, "ok": {"returncode": None, "stdout": b"", "stderr": b""}},
        [1],
    ],
)
async def test_an_agent_that_answers_without_sense_is_named(said: Any) -> None:
    reader = asyncio.StreamReader()
    host = AgentHost("edge-0", Link(reader, Sink()))
    serving = asyncio.create_task(host.serve())
    asked = asyncio.create_task(host.run(["true"]))
    await asyncio.sleep(0)
    reader.feed_data(pack(said))
    with pytest.raises(PlatformError) as raised:
        await asyncio.wait_for(asked, 10)
    assert raised.value.where == "edge-0"
    reader.feed_eof()
    await serving
    with pytest.raises(PlatformError):
        await host.ask("more")


async def test_what_became_of_an_agent_without_sense_is_told_with_its_events() -> None:
    reader = asyncio.StreamReader()
    host = AgentHost("edge-0", Link(reader, Sink()))
    reader.feed_data(pack({"reply": [0]}))
    await host.serve()
    with pytest.raises(PlatformError, match="what cannot be understood"):
        async for _ in host.events():
            pass


async def test_a_file_that_an_agent_does_not_send_whole_is_not_there(tmp_path: Path) -> None:
    reader = asyncio.StreamReader()
    host = AgentHost("edge-0", Link(reader, Sink()))
    reader.feed_data(pack({"reply": 0, "ok": b"half"}) + pack({"reply": 1, "ok": 5}))
    got = asyncio.create_task(host.get("there", tmp_path / "here"))
    await asyncio.sleep(0)
    serving = asyncio.create_task(host.serve())
    reader_end = asyncio.get_running_loop().call_later(0.2, reader.feed_eof)
    with pytest.raises(PlatformError):
        await asyncio.wait_for(got, 10)
    await serving
    reader_end.cancel()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", [{"reply": 0}, {"reply": [0], "result": {}}, {"reply": 0, "result": 1}, {"say": "here"}])
async def test_a_worker_that_answers_without_sense_is_named(said: Any) -> None:
    wire = Wire()
    worker = Worker(FrameLink(wire.reader, wire), "me")
    asked = asyncio.create_task(worker.ask({"do": "x"}, b"", "edge-0"))
    await asyncio.sleep(0)
    wire.say(said)
    serving = asyncio.create_task(worker.serve("edge-0"))
    with pytest.raises(PlatformError, match="edge-0"):
        await asyncio.wait_for(asked, 10)
    await serving
    assert worker.gone

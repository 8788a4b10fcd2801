"""The envoy: the program that Estran sends to a host and speaks to for as long as it uses the host.

It and the modules that it imports are sent over the standard input of ``python3``, and need nothing but its standard library, from
Python 3.8 on. It speaks frames, each two lengths, a JSON head and raw bytes: requests ``{id, do, …}`` are answered by
``{reply: id, ok | error}``, all else is news ``{say: …}``. When the controller goes, or says nothing for longer than its lease, the
envoy ends everything that it started, undoes what it was told to undo, and removes its scratch folder.
"""

# Runs where neither Estran nor a new Python is: annotations are never evaluated, and what came after 3.8 is not used.
from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import signal
import struct
import sys
import time
import types
from collections.abc import Callable, Coroutine
from typing import Any

from estran.platforms.remote.envoy_facts import end_strays, facts
from estran.platforms.remote.envoy_files import Arriving, Refused, digest_if_file, new_folder, removed
from estran.platforms.remote.envoy_pipes import Piped
from estran.platforms.remote.envoy_processes import QUIET, Processes, ended, feed

MAGIC = b"\x00estran-envoy-1\x00"
"""Precedes the first frame: what a login shell may have printed before is skipped."""

LENGTHS = struct.Struct(">II")
LIMIT, HEADS = 1 << 30, 1 << 26
"""Bytes of what a frame carries, and of its head, at the most."""
PIECE = 1 << 18
INPUT_ENDS = 3.0
"""Seconds that processes have to end whose input has."""


class Envoy:
    """Serves one controller.

    Parameters
    ----------
    mark
        Value of ``ESTRAN_RUN`` in the environment of all that is started here, by which strays are found in the end.
    lease
        Seconds of silence after which the controller counts as gone; 0 for never.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mark: str, lease: float) -> None:
        self.reader = reader
        self.writer = writer
        self.mark = mark
        self.lease = lease
        self.scratch = new_folder("estran-")
        self.processes = Processes(mark)
        self.named: dict[str, asyncio.subprocess.Process] = {}
        self.pipes: dict[int, Piped] = {}
        self.arriving: dict[int, Arriving] = {}
        self.undoing: list[list[str]] = []
        self.leaving = False
        self.tasks: set[asyncio.Future[None]] = set()
        self.threads = concurrent.futures.ThreadPoolExecutor(16)

    async def serve(self) -> None:
        """Answer until the controller goes, then leave the host as it was."""
        self.say({"say": "here", "facts": dict(facts(self.scratch), mark=self.mark)})
        try:
            while True:
                frame = await self.next_frame()
                if frame is None:
                    break
                head, data = frame
                if head["do"] == "clock":  # at once: what waits in line would be taken for the network
                    self.answer(head, {"monotonic_ns": time.monotonic_ns(), "time_ns": time.time_ns()})
                elif head["do"] in ("piece", "write"):
                    try:
                        getattr(self, "do_" + head["do"])(data, **details(head))
                    except (TypeError, ValueError, AttributeError):  # no controller of ours speaks like that
                        break
                elif head["do"] == "exit":
                    await self.leave()
                    self.answer(head, None)
                    await self.drained()
                    return
                else:
                    self.spawn(self.handle(head, data))
        finally:
            await self.leave()

    async def next_frame(self) -> tuple[dict[str, Any], bytes] | None:
        """The next frame, or None if the controller has gone."""
        try:
            sizes = await asyncio.wait_for(self.reader.readexactly(LENGTHS.size), self.lease or None)
            head, body = LENGTHS.unpack(sizes)
            if head > HEADS or body > LIMIT:
                return None
            frame = json.loads((await self.reader.readexactly(head)).decode()), await self.reader.readexactly(body)
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, OSError, ValueError, RecursionError):
            return None
        return frame if isinstance(frame[0], dict) and isinstance(frame[0].get("do"), str) and "id" in frame[0] else None

    def say(self, head: dict[str, Any], data: bytes = b"") -> None:
        """Queue a frame."""
        text = json.dumps(head).encode()
        self.writer.write(LENGTHS.pack(len(text), len(data)) + text + bytes(data))

    async def drained(self) -> None:
        """Wait until little is left unsent."""
        with contextlib.suppress(OSError):
            await self.writer.drain()

    def answer(self, head: dict[str, Any], ok: Any, data: bytes = b"") -> None:
        """Reply to a request."""
        self.say({"reply": head["id"], "ok": ok}, data)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run beside the reading of requests, until the envoy leaves."""
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def handle(self, head: dict[str, Any], data: bytes) -> None:
        """Do what is asked, and answer."""
        try:
            found = await getattr(self, "do_" + head["do"])(data, **dict(details(head), number=head["id"]))
            ok, body = found if isinstance(found, tuple) else (found, b"")
            self.answer(head, ok, body)
        except Refused as error:
            self.say({"reply": head["id"], "error": str(error)})
        except OSError as error:
            self.say(
                {"reply": head["id"], "error": "{}: {}".format(error.filename or type(error).__name__, error.strerror or error)}
            )
        except Exception as error:  # noqa: BLE001 - the controller is told of every failure, and the envoy stays
            self.say({"reply": head["id"], "error": "{}: {}".format(type(error).__name__, error)})
        await self.drained()

    # Commands

    async def do_run(
        self,
        data: bytes,
        number: int,
        argv: list[str],
        cwd: str | None,
        env: dict[str, str] | None,
        timeout: float | None,
        stream: bool,
    ) -> tuple[Any, bytes]:
        """Run a command to its end; its output is told as it comes, or all in the answer."""
        pipe = asyncio.subprocess.PIPE
        process = await self.processes.started(argv, cwd, env, pipe, pipe, pipe)
        kept = {"stdout": bytearray(), "stderr": bytearray()}
        heard = [time.monotonic()]

        async def read(channel: str, pipe: asyncio.StreamReader | None) -> None:
            while pipe is not None:
                some = await pipe.read(PIECE)
                if not some:
                    return
                heard[0] = time.monotonic()
                if stream:
                    self.say({"say": "output", "of": number, "channel": channel}, some)
                    await self.drained()
                else:
                    kept[channel].extend(some)

        readers = [asyncio.ensure_future(read("stdout", process.stdout)), asyncio.ensure_future(read("stderr", process.stderr))]
        writing = asyncio.ensure_future(feed(process, data))
        try:
            status = await asyncio.wait_for(ended(process), timeout)
            while not all(reader.done() for reader in readers):
                await asyncio.wait(readers, timeout=QUIET)
                if time.monotonic() - heard[0] >= QUIET:
                    break
        except asyncio.TimeoutError:
            raise Refused("{} did not end within {:g}s".format(argv[0], timeout or 0.0)) from None
        finally:
            if process.returncode is None:
                self.processes.signal(process.pid, signal.SIGKILL)
                await ended(process)
            self.processes.groups.pop(process.pid, None)
            for task in readers + [writing]:
                task.cancel()
        return {"returncode": status, "sizes": [len(kept["stdout"]), len(kept["stderr"])]}, bytes(kept["stdout"] + kept["stderr"])

    # Services

    async def do_start(
        self, data: bytes, number: int, name: str, argv: list[str], cwd: str | None, env: dict[str, str] | None, log: str
    ) -> int:
        """Start a process whose end is told; what it prints goes into a file."""
        if name in self.named:
            raise Refused(name + " runs already")
        with self.log(log) as file:
            process = await self.processes.started(argv, cwd, env, asyncio.subprocess.DEVNULL, file, file)
        self.named[name] = process
        self.spawn(self.watch(name, process))
        return process.pid

    async def watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Tell how a process ended."""
        status = await process.wait()
        self.processes.over(process.pid)
        self.named.pop(name, None)
        self.say({"say": "ended", "name": name, "status": status})

    async def do_stop(self, data: bytes, number: int, name: str, grace: float) -> int | None:
        """End a process and its group; kill what has not ended after ``grace`` seconds."""
        process = self.named.get(name)
        return None if process is None else await self.processes.stop(process, grace)

    # Pipes

    async def do_open(
        self, data: bytes, number: int, argv: list[str], cwd: str | None, env: dict[str, str] | None, log: str | None
    ) -> int:
        """Start a process whose input and output are the controller's; ``write`` sends to it, ``pipe`` tells what it says."""
        with self.log(log or os.devnull) as file:
            process = await self.processes.started(argv, cwd, env, asyncio.subprocess.PIPE, asyncio.subprocess.PIPE, file)
        self.pipes[number] = Piped(process, self.say)
        self.spawn(self.relay(number, process))
        return process.pid

    async def relay(self, number: int, process: asyncio.subprocess.Process) -> None:
        """Hand on what a process says, then how it ended."""
        while process.stdout is not None:
            some = await process.stdout.read(PIECE)
            if not some:
                break
            self.say({"say": "pipe", "of": number}, some)
            await self.drained()
        status = await process.wait()
        self.processes.over(process.pid)
        self.pipes.pop(number, None)
        self.say({"say": "shut", "of": number, "status": status})

    def do_write(self, data: bytes, of: int) -> None:
        """Hand bytes to a process, or close its input with none."""
        piped = self.pipes.get(of)
        due = 0 if piped is None else piped.write(data)
        if piped is not None and due:
            self.spawn(piped.tell(of, due))

    # Files

    async def do_have(self, data: bytes, number: int, path: str, sha256: str, mode: int | None) -> bool:
        """Whether a file of that content is there; if so it gets the mode."""
        path = self.place(path)
        same = bool(await self.thread(digest_if_file, path) == sha256)
        if same and mode is not None:
            os.chmod(path, mode)
        return same

    def do_piece(self, data: bytes, of: int, path: str) -> None:
        """Take a piece of a file that ``put`` will complete."""
        arriving = self.arriving.get(of)
        if arriving is None:
            arriving = self.arriving[of] = Arriving(self.place(path))
        arriving.take(data)

    async def do_put(self, data: bytes, number: int, path: str, sha256: str, mode: int | None) -> str:
        """Take the last piece, verify the whole, and put it in place at one go."""
        arriving = self.arriving.pop(number, None) or Arriving(self.place(path))
        arriving.take(data)
        arriving.complete(sha256, mode)
        return sha256

    async def do_get(self, data: bytes, number: int, path: str) -> dict[str, Any]:
        """Send a file piece by piece, then its digest."""
        import hashlib

        digest, size = hashlib.sha256(), 0
        with open(self.place(path), "rb") as file:
            while True:
                piece = file.read(PIECE)
                if not piece:
                    break
                digest.update(piece)
                size += len(piece)
                self.say({"say": "piece", "of": number}, piece)
                await self.drained()
            mode = os.fstat(file.fileno()).st_mode & 0o777
        return {"sha256": digest.hexdigest(), "size": size, "mode": mode}

    def log(self, path: str) -> Any:
        """A file to append to."""
        path = self.place(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "ab")

    def place(self, path: str) -> str:
        """A path on this host: ``~`` is the user's home, and relative ones start from the scratch folder."""
        return os.path.join(self.scratch, os.path.expanduser(path))

    # Functions

    async def do_load(self, data: bytes, number: int, module: str) -> None:
        """Learn a module from its source text."""
        made = types.ModuleType(module)
        exec(compile(data, module + ".py", "exec"), made.__dict__)  # noqa: S102 - the controller owns this process
        sys.modules[module] = made

    async def do_call(self, data: bytes, number: int, function: str, details: dict[str, Any]) -> Any:
        """Call ``module.function(envoy, data, **details)`` in a thread; it returns what JSON can say, or that and bytes."""
        module, _, name = function.rpartition(".")
        if module not in sys.modules:
            raise Refused("no module {} was loaded".format(module))
        found = getattr(sys.modules[module], name)
        return await self.thread(lambda: found(self, data, **details))

    async def thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function that blocks in a thread."""
        return await asyncio.get_event_loop().run_in_executor(self.threads, function, *arguments)

    async def do_undo(self, data: bytes, number: int, argv: list[str]) -> None:
        """Remember a command to run when the envoy leaves; the last comes first."""
        self.undoing.append(argv)

    # The end

    async def leave(self) -> None:
        """End all that was started here, undo, and remove the scratch folder."""
        self.leaving = True
        piped = list(self.pipes.values())
        for one in piped:
            one.write(b"")  # srun that is asked to end kills; the envoy at its other end leaves in good order when its input ends
        if piped:
            await asyncio.wait([asyncio.ensure_future(one.process.wait()) for one in piped], timeout=INPUT_ENDS)
        await self.processes.end()
        while self.undoing:
            argv = self.undoing.pop()
            with contextlib.suppress(OSError, TypeError, ValueError):  # what is no command keeps nothing else from being undone
                process = await asyncio.create_subprocess_exec(
                    *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
                )
                await process.wait()
        end_strays(self.mark)
        for arriving in self.arriving.values():
            arriving.abandon()
        removed(self.scratch)


def details(head: dict[str, Any]) -> dict[str, Any]:
    """What a request says beside its number and verb."""
    return {key: value for key, value in head.items() if key not in ("id", "do")}


async def over_standard_streams(mark: str, lease: float) -> None:
    """Serve whoever holds this process's standard streams."""
    loop = asyncio.get_event_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", buffering=0))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(1, "wb", buffering=0))
    await serve(reader, asyncio.StreamWriter(transport, protocol, reader, loop), mark, lease)


async def over_socket(path: str, mark: str, lease: float) -> None:
    """Serve whoever listens on a UNIX socket."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
    await serve(reader, writer, mark, lease)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mark: str, lease: float) -> None:
    """Announce the envoy and serve; a polite end counts like a cut."""
    loop = asyncio.get_event_loop()
    asked = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, remember, asked)
    writer.write(MAGIC)
    envoy = Envoy(reader, writer, mark, lease)
    serving = asyncio.ensure_future(envoy.serve())
    await asyncio.wait([serving, asked], return_when=asyncio.FIRST_COMPLETED)
    if not envoy.leaving:  # who is leaving is not hurried: Slurm asks, and so does the end of the connection, and `estran clean`
        serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    if not envoy.leaving:
        await envoy.leave()
    for task in list(envoy.tasks):
        task.cancel()
    writer.close()


def remember(asked: asyncio.Future[None]) -> None:
    """Note that the envoy was asked to go; once is enough."""
    if not asked.done():
        asked.set_result(None)


def main(mark: str, lease: float, connect: str = "") -> None:
    """Be an envoy until the controller goes."""
    asyncio.run(over_socket(connect, mark, lease) if connect else over_standard_streams(mark, lease))
    os._exit(0)  # a thread that still blocks in a call must not hold the process


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))

"""How an envoy comes to a host: a line that any shell takes, and the program after it on standard input."""

from __future__ import annotations

import asyncio
import json
import marshal
import shlex
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.remote import envoy
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.host import HEARTBEAT, RemoteHost

LEASE: Final = 60.0
"""Seconds without a sign of life from the controller after which an envoy leaves."""

OLDEST: Final = (3, 8)
ARRIVAL: Final = 20.0

CARRIED: Final = ("envoy_files", "envoy_facts", "envoy_pipes", "envoy_processes", "envoy")
"""Modules that are sent, each after those that it imports."""

_FIRST = """\
import os,sys,zlib
if sys.version_info<{oldest}: sys.exit("estran: Python %d.%d is too old"%sys.version_info[:2])
s=b""
while len(s)<{size}:
 p=os.read(0,{size}-len(s))
 if not p: sys.exit(1)
 s+=p
exec(zlib.decompress(s))
"""

_BEFORE = """\
import sys
sys.modules["ssl"] = None
import asyncio
del sys.modules["ssl"]
"""
"""Has asyncio go without TLS, which an envoy does not speak and which takes a tenth of its start."""

_THEN = """\
import json, marshal, sys, types
for name in {packages!r}:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, text in {sources!r}:
    made = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec") if isinstance(text, str) else marshal.loads(text), made.__dict__)
"""
_LAST = "made.main(*json.loads({arguments!r}))\n"

BARE: Final = ("-I", "-S")
"""Flags of a Python that looks for nothing but its standard library, and starts sooner so."""


def program(mark: str, lease: float = LEASE, connect: str = "") -> bytes:
    """What is to follow on standard input: the modules and a call of `envoy.main`, compressed."""
    modules = tuple(import_module(f"{envoy.__package__}.{name}") for name in CARRIED)
    return packed(modules, [mark, lease, connect], before=_BEFORE)


def packed(modules: tuple[ModuleType, ...], arguments: Sequence[Any], *, before: str = "", bytecode: str = "") -> bytes:
    """Lines, modules and a call of the last one's ``main``, compressed, for a Python that has nothing of Estran.

    Parameters
    ----------
    bytecode
        What that Python's compiled code is marked with, if known: modules go compiled where that is ours.
    """
    begun, there = _begun(modules, before, bytecode == MAGIC_NUMBER.hex())
    goes_on = begun.copy()
    return there + goes_on.compress(_LAST.format(arguments=json.dumps(arguments)).encode()) + goes_on.flush()


@cache
def _begun(modules: tuple[ModuleType, ...], before: str, compiled: bool) -> tuple[zlib._Compress, bytes]:
    """What is the same for all hosts: a compressor that has taken it, and what came out of that so far."""
    sources = [(module.__name__, _source(module, compiled)) for module in modules]
    parts = [name.split(".") for name, _ in sources]
    packages = dict.fromkeys(".".join(part[:count]) for part in parts for count in range(1, len(part)))
    compressor = zlib.compressobj(9)
    there = compressor.compress((before + _THEN.format(packages=list(packages), sources=sources)).encode())
    return compressor, there + compressor.flush(zlib.Z_SYNC_FLUSH)


def _source(module: ModuleType, compiled: bool) -> str | bytes:
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    return marshal.dumps(compile(text, module.__name__, "exec", dont_inherit=True)) if compiled else text


def first_line(size: int, python: str = "python3", *, flags: Sequence[str] = BARE) -> list[str]:
    """The command that reads and runs it."""
    return [python, *flags, "-c", _FIRST.format(size=size, oldest=OLDEST)]


def shell_line(size: int, python: str = "python3") -> str:
    """`first_line`, for a login shell."""
    return "exec " + shlex.join(first_line(size, python))


@asynccontextmanager
async def attended(host: RemoteHost, lost: Callable[[], Awaitable[PlatformError]] | None = None) -> AsyncIterator[RemoteHost]:
    """Serve a host for as long as the context lasts, from when its envoy has arrived; in the end the envoy leaves.

    Parameters
    ----------
    lost
        Says why the connection ended before the envoy arrived.
    """
    serving = asyncio.create_task(host.serve(), name=f"envoy of {host.name}")
    try:
        await _arrive(host, lost)
        yield host
    finally:
        await host.close()
        await asyncio.wait({serving}, timeout=5.0)
        serving.cancel()


async def _arrive(host: RemoteHost, lost: Callable[[], Awaitable[PlatformError]] | None) -> None:
    try:
        async with asyncio.timeout(ARRIVAL):
            await host.arrived()
    except TimeoutError:
        raise PlatformError(
            f"no envoy came up within {ARRIVAL:g}s", where=host.name, remedy="see whether its login shell or its Python hangs"
        ) from None
    except PlatformError as error:
        raise (await lost() if lost is not None else error) from None


@asynccontextmanager
async def local_host(
    name: str, mark: str, *, python: str = sys.executable, lease: float = LEASE, heartbeat: float = HEARTBEAT
) -> AsyncIterator[RemoteHost]:
    """An envoy on this machine, for as long as the context lasts."""
    sent = program(mark, lease)
    process = await asyncio.create_subprocess_exec(
        *first_line(len(sent), python), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both ends are pipes")
    process.stdin.write(sent)
    link = FrameLink(process.stdout, process.stdin)
    try:
        await link.await_envoy()
        async with attended(RemoteHost(name, link, heartbeat=heartbeat)) as host:
            yield host
    except asyncio.IncompleteReadError:
        raise PlatformError("its envoy did not start", where=name) from None
    finally:
        await process.wait()

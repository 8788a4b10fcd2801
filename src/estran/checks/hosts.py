"""What every `Host` must do, whatever platform it comes from. Plain async functions that raise AssertionError.

The caller runs ``host.serve()`` in a task meanwhile. Each check leaves the host as it found it; give each replica-starting check a
fresh folder.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.base import Host
from estran.runtime.launch import Launch

Check = Callable[[Host, Path], Awaitable[None]]
"""Takes a host and an empty folder on this machine."""

PATIENCE: Final = 20.0


async def runs_commands(host: Host, folder: Path) -> None:
    """A command's status and both outputs come back whole and apart."""
    completed = await host.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    got = (completed.returncode, completed.stdout, completed.stderr)
    assert got == (3, b"out\n", b"err\n"), f"got {got}"


async def passes_arguments_untouched(host: Host, folder: Path) -> None:
    """No shell stands between: spaces, quotes and dollars arrive as they are."""
    odd = ["a b", "$HOME", "'\"", "*", ""]
    completed = await host.run(["printf", "%s\\n", *odd])
    assert completed.stdout.decode().split("\n")[:-1] == odd, f"got {completed.stdout!r}"


async def ends_what_takes_too_long(host: Host, folder: Path) -> None:
    """A command that outlives its timeout is ended and refused."""
    begun = time.monotonic()
    try:
        await host.run(["sleep", "60"], timeout=0.3)
    except PlatformError:
        assert time.monotonic() - begun < PATIENCE, "ended far too late"
        return
    raise AssertionError("no error for a command that took too long")


async def carries_files(host: Host, folder: Path) -> None:
    """A file comes back as it went, empty or of several megabytes, with its mode."""
    for name, data in (("empty", b""), ("large", bytes(range(256)) * 12_000)):
        here, there, back = folder / name, str(folder / f"{name}.there"), folder / f"{name}.back"
        here.write_bytes(data)
        here.chmod(0o750)
        await host.put(here, there)
        await host.get(there, back)
        assert back.read_bytes() == data, f"the {name} file changed on the way"
        mode = await host.run(["stat", "-c", "%a", there])
        assert mode.stdout.strip() == b"750", f"its mode became {mode.stdout!r}"


async def reports_a_failed_replica(host: Host, folder: Path) -> None:
    """A replica that fails is reported as such, with the end of its log."""
    await host.start(_command("fails", host.name, folder, "sh", "-c", "echo last words; exit 7"))
    ended = await _news(host, "ended", "fails-0")
    got = (ended["status"], ended["failed"], ended["tail"])
    assert got == (7, True, ["last words"]), f"got {got}"


async def stops_a_replica_with_its_children(host: Host, folder: Path) -> None:
    """A stopped replica ends without being called failed, and takes its children with it."""
    program = f"sh -c 'echo $$ > {folder}/child; exec sleep 60' & wait"
    await host.start(_command("stops", host.name, folder, "sh", "-c", program))
    while (await host.run(["test", "-s", f"{folder}/child"])).returncode != 0:
        await asyncio.sleep(0.02)
    await host.stop("stops-0", grace=1.0)
    ended = await _news(host, "ended", "stops-0")
    assert not ended["failed"], "a stopped replica was called failed"
    running = f"pid=$(cat {folder}/child); test -e /proc/$pid && ! grep -q '^State:.Z' /proc/$pid/status"
    assert (await host.run(["sh", "-c", running])).returncode != 0, "a child outlived its replica"


def _command(service: str, host: str, folder: Path, *argv: str) -> Mapping[str, Any]:
    return Launch(f"{service}-0", service, 0, 1, host, 0, time.monotonic_ns(), command=argv, folder=str(folder)).plain()


async def _news(host: Host, say: str, replica: str) -> Mapping[str, Any]:
    async with asyncio.timeout(PATIENCE):
        async for frame in host.events():
            if frame["say"] == say and frame.get("replica") == replica:
                return frame
    raise AssertionError(f"the host went before it said {say!r} of {replica}")


CHECKS: Final[tuple[Check, ...]] = (
    runs_commands,
    passes_arguments_untouched,
    ends_what_takes_too_long,
    carries_files,
    reports_a_failed_replica,
    stops_a_replica_with_its_children,
)

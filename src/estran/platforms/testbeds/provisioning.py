"""Runs the provisioner in EnOSlib's environment, one process for each command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from estran.errors import PlatformError
from estran.platforms.testbeds.environment import required
from estran.platforms.testbeds.ledger import ledger_folder

Report = Callable[[str], None]
START = "import sys; sys.path.append(sys.argv.pop(1)); from provisioner.serve import main; main()"
LONGEST_LINE = 2**24
HOUR = 3600.0
LIMITS = {"state": 600.0, "destroy": 1800.0}
"""Seconds after which a command is given up; a reservation has its own wait and an hour to be prepared."""


class ProvisionError(PlatformError):
    """What a testbed could not do.

    Attributes
    ----------
    kind
        One of those that `estran.platforms.testbeds.provisioner.failures.Failure` lists.
    begun
        Whether the testbed may have reserved something.
    undone
        Whether all of it was given back.
    """

    def __init__(self, what: str, *, kind: str, where: str, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.kind = kind
        self.begun = True
        self.undone = False


async def provision(
    do: Literal["reserve", "reload", "state", "destroy"], request: Mapping[str, Any], log: Path, report: Report
) -> dict[str, Any]:
    """Let the provisioner serve one command, and return its answer.

    Parameters
    ----------
    log
        File to which EnOSlib's own words are added.
    report
        Is told what is being waited for.

    Raises
    ------
    PlatformError
        If EnOSlib's environment is missing.
    ProvisionError
        If the testbed refuses or fails, or does not come to an end.
    """
    python = required(request["provider"]).python
    ledger_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    limit = LIMITS.get(do, request["delay"] + request["wait"] + HOUR)
    argv = [str(python), "-I", "-c", START, str(Path(__file__).parent)]
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=ledger_folder(),
            start_new_session=True, limit=LONGEST_LINE,
        )  # fmt: skip
    try:
        async with asyncio.timeout(limit):
            return await _answer(process, {**request, "do": do}, log, report)
    except TimeoutError:
        what = f"{do} has not come to an end in {limit:.0f} s"
        raise ProvisionError(what, kind="api", where=request["provider"], remedy=f"see {log}") from None
    finally:
        await _end(process)


async def _answer(process: asyncio.subprocess.Process, request: dict[str, Any], log: Path, report: Report) -> dict[str, Any]:
    """Talk with the provisioner; its input stays open, since its end tells it that we have gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # then it says why below
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
    async for line in process.stdout:
        said = json.loads(line)
        match said.pop("say"):
            case "progress":
                report(said["text"])
            case "retry":
                report(f"{said['doing']}: {said['why']}; again in {said['after']:g} s")
            case "failed":
                remedy = said["remedy"] or f"see {log}"
                error = ProvisionError(said["what"], kind=said["kind"], where=request["provider"], remedy=remedy)
                error.begun, error.undone = said["begun"], said["undone"]
                raise error
            case "done":
                return dict(said)
    raise ProvisionError("the provisioner died without an answer", kind="defect", where=request["provider"], remedy=f"see {log}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it with everything that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()

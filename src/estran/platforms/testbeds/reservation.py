"""Reserving on a testbed, and giving back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estran.errors import EstranError, PlatformError
from estran.platforms.testbeds.inventory import Inventory
from estran.platforms.testbeds.ledger import Entry, entries, ledger_folder, name_of, opened
from estran.platforms.testbeds.provisioning import ProvisionError, Report, provision

if TYPE_CHECKING:
    from estran.platforms.testbeds.models import TestbedFile

AGAIN = "`estran clean` tries again"


def silent(text: str) -> None:
    """Report nothing."""


@asynccontextmanager
async def reserved(asked: TestbedFile, *, log: Path | None = None, report: Report = silent) -> AsyncIterator[Inventory]:
    """Reserve nodes, or take over those that were kept, and give them back on leaving unless they are to be kept.

    Parameters
    ----------
    log
        File to which EnOSlib's own words are added; by default one beside the ledger.
    report
        Is told what is being waited for.

    Raises
    ------
    PlatformError
        If the nodes cannot be had; what was reserved of them has been given back. Also if they cannot be given back: then they
        stay in the ledger for `estran clean`.
    """
    request = asked.request()
    with opened(request) as entry:
        inventory = await _reserve(entry, log or log_of(request), report)
        try:
            yield inventory
        finally:
            if not entry.keep:
                await _give_back(entry, log or log_of(request), report)


async def _reserve(entry: Entry, log: Path, report: Report) -> Inventory:
    """Reserve; if that fails or is interrupted, nothing of it is left."""
    try:
        order = {**entry.request, "fresh": not entry.known, "undo": not (entry.known and entry.keep)}
        answer = await provision("reserve", order, log, report)
        entry.jobs, entry.ends_at = answer["jobs"], answer["ends_at"]
        entry.write()
        return Inventory.read(answer)
    except PlatformError as error:
        begun = isinstance(error, ProvisionError) and error.begun
        if (isinstance(error, ProvisionError) and error.undone) or not (begun or entry.known):
            entry.remove()
        elif begun:
            await _undo(entry, log, report)
        raise
    except asyncio.CancelledError:
        await _undo(entry, log, report)
        raise


async def _undo(entry: Entry, log: Path, report: Report) -> None:
    """Give back what a failed reservation left; nodes that were kept for us stay, for what failed may be but a network."""
    if not (entry.known and entry.keep):
        await _give_back(entry, log, report)


async def _give_back(entry: Entry, log: Path, report: Report) -> list[str]:
    try:
        answer = await provision("destroy", entry.request, log, report)
    except EstranError as error:
        remedy = f"{error.remedy}; {AGAIN}" if error.remedy else AGAIN
        raise PlatformError(f"nodes could not be given back: {error.what}", where=name_of(entry.request), remedy=remedy) from error
    entry.remove()
    given: list[str] = answer["given_back"]
    return given


async def ended(asked: TestbedFile, inventory: Inventory, log: Path) -> PlatformError | None:
    """What became of jobs whose hosts are lost: which of them the testbed has ended; None if none, or if it does not say."""
    try:
        left = {job["id"] for job in (await provision("state", asked.request(), log, silent))["jobs"]}
    except PlatformError:
        return None
    gone = [f"job {job['id']} on {job['site']}" for job in inventory.jobs if job["id"] not in left]
    if not gone:
        return None
    remedy = "ask there why (it was preempted, or somebody deleted it), and run it again"
    return PlatformError(f"the testbed has ended {', '.join(gone)}", where=asked.provider, remedy=remedy)


async def release(job: str, report: Report = silent) -> list[str]:
    """Give back a reservation of the ledger, by its job's name or by ``provider-job``; return what, in words.

    Raises
    ------
    PlatformError
        If there is none of that name, it is in use, or cannot be given back.
    """
    found = [entry for entry, _ in entries() if job in (entry.request["job"], name_of(entry.request))]
    if not found:
        raise PlatformError(f"there is no reservation {job!r}", where=str(ledger_folder()), remedy="see `estran testbeds status`")
    return [line for entry in found for line in await _released(entry.request, report)]


async def _released(request: Mapping[str, Any], report: Report) -> list[str]:
    with opened(request) as entry:
        return await _give_back(entry, log_of(request), report)


async def release_forgotten(report: Report = silent) -> list[str]:
    """Give back what killed runs left; kept nodes and those in use stay. Return what was done, or why not, in words."""
    done = []
    for entry, used in entries():
        if used or entry.keep:
            continue
        name = name_of(entry.request)
        try:
            given = await _released(entry.request, report)
            done.append(f"{name}: gave back {', '.join(given) or 'nothing, it was gone'}")
        except PlatformError as error:
            done.append(str(error))
    return done


async def states() -> list[dict[str, Any]]:
    """Every reservation of the ledger: ``name``, ``use`` (in use, kept or forgotten), ``jobs`` (None if not known), ``said``."""
    found = []
    for entry, used in entries():
        use = "in use" if used else "kept" if entry.keep else "forgotten"
        one: dict[str, Any] = {"name": name_of(entry.request), "use": use, "jobs": None, "ends_at": entry.ends_at}
        try:
            one["jobs"] = (await provision("state", entry.request, log_of(entry.request), silent))["jobs"]
            one["said"] = ", ".join(f"{job['id']} {job['state']}" for job in one["jobs"]) or "nothing is reserved any more"
        except PlatformError as error:
            one["said"] = error.what
        found.append(one)
    return found


def log_of(request: Mapping[str, Any]) -> Path:
    """Where EnOSlib's own words about a reservation are, if there is no run folder."""
    folder = ledger_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{name_of(request)}.log"

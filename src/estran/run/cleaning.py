"""Cleaning up after killed runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from estran.errors import EstranError
from estran.observe.queries import open_run
from estran.observe.store import recover
from estran.platforms.emulated.leftovers import remove_groups
from estran.platforms.slurm import leftovers as slurm
from estran.platforms.testbeds.reservation import release_forgotten
from estran.run.journal import end_processes, leftovers
from estran.run.record import write_json


def clean_leftovers() -> list[str]:
    """Remove what killed runs left: processes, groups, jobs, testbeds' nodes, unfinished stores; say what was done."""
    try:
        done = asyncio.run(release_forgotten())
    except EstranError as error:
        done = [str(error)]
    found, wrong = leftovers()
    done += [str(error) for error in wrong]
    for left in found:
        killed = end_processes(left.run_id)
        try:
            groups = remove_groups(left.run_id)
            jobs = [slurm.cancel(entry.value) for entry in left.entries if entry.kind == slurm.KIND]
            recovered = _of_run(left.folder, left.run_id) and recover(left.folder)
            _mark_killed(left.folder, left.run_id)
        except EstranError as error:
            done.append(f"{left.run_id}: {error}")
            continue
        left.path.unlink()
        told = [f"{killed} processes", f"{groups} control groups", *(f"job {job} in Slurm cancelled" for job in jobs)]
        done.append(f"{left.run_id}: {', '.join([*told, 'records recovered'] if recovered else told)}")
    return done


def _of_run(folder: Path, run_id: str) -> bool:
    """Whether a folder is that of a run, by its own record: in no other is anything changed."""
    return (folder / "run.json").is_file() and open_run(folder).status.id == run_id


def _mark_killed(folder: Path, run_id: str) -> None:
    path = folder / "run.json"
    if not _of_run(folder, run_id):
        return
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["status"] == "running":
        phase = data["phases"][-1].get("name", "start") if data.get("phases") else "start"
        what = "the conductor was killed"
        data["status"] = "failed"
        data["failure"] = {"phase": phase, "what": what, "host": None, "service": None, "remedy": "run it again", "log_tail": []}
        write_json(path, data)

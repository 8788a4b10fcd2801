"""Cleaning up after killed runs."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from estran.errors import EstranError
from estran.observe.store import recover
from estran.platforms.emulated.leftovers import remove_groups
from estran.platforms.slurm import leftovers as slurm
from estran.platforms.testbeds.reservation import release_forgotten
from estran.run.hand import door_of
from estran.run.journal import end_processes, leftovers
from estran.run.record import write_json


def clean_leftovers() -> list[str]:
    """Remove what killed runs left: processes, groups, jobs, testbeds' nodes, unfinished stores; say what was done."""
    done = asyncio.run(release_forgotten())
    for left in leftovers():
        killed = end_processes(left.run_id)
        groups = remove_groups(left.run_id)
        door_of(left.run_id).unlink(missing_ok=True)
        for entry in left.entries:
            if entry.kind == "folder":
                shutil.rmtree(entry.value, ignore_errors=True)
        try:
            jobs = [slurm.cancel(entry.value) for entry in left.entries if entry.kind == slurm.KIND]
            recovered = left.folder.exists() and recover(left.folder)
            _mark_killed(left.folder)
        except EstranError as error:
            done.append(f"{left.run_id}: {error}")
            continue
        left.path.unlink()
        told = [f"{killed} processes", f"{groups} control groups", *(f"job {job} in Slurm cancelled" for job in jobs)]
        done.append(f"{left.run_id}: {', '.join([*told, 'records recovered'] if recovered else told)}")
    return done


def _mark_killed(folder: Path) -> None:
    path = folder / "run.json"
    if not path.exists():
        return
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["status"] == "running":
        phase = data["phases"][-1]["name"] if data["phases"] else "start"
        what = "the conductor was killed"
        data["status"] = "failed"
        data["failure"] = {"phase": phase, "what": what, "host": None, "service": None, "remedy": "run it again", "log_tail": []}
        write_json(path, data)

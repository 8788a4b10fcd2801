"""Cleaning up after killed runs."""

from __future__ import annotations

import asyncio
import json
import shutil
from math import ceil
from pathlib import Path
from typing import Any

from estran.errors import EstranError
from estran.observe.queries import open_run
from estran.observe.responses import measure, recorded_until
from estran.observe.store import recover
from estran.platforms.emulated.envoys import abandoned
from estran.platforms.emulated.leftovers import remove_groups
from estran.platforms.mixed.scratch import scratch
from estran.platforms.remote.packing import remove_unfinished
from estran.platforms.slurm import leftovers as slurm
from estran.platforms.testbeds.reservation import release_forgotten
from estran.run.hand import door_of
from estran.run.journal import end_processes, leftovers
from estran.run.record import write_json


def clean_leftovers() -> list[str]:
    """Remove what killed runs left: processes, groups, jobs, testbeds' nodes, unfinished stores; say what was done."""
    remove_unfinished()
    try:
        done = asyncio.run(release_forgotten())
    except EstranError as error:
        done = [str(error)]
    found, wrong = leftovers()
    done += [str(error) for error in wrong]
    for left in found:
        killed = end_processes(left.run_id)
        door_of(left.run_id).unlink(missing_ok=True)
        places = [abandoned(entry.value) for entry in left.entries if entry.kind == "folder"]
        for folder in [*scratch(left.run_id), *filter(None, places)]:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            groups = remove_groups(left.run_id)
            jobs = [slurm.cancel(entry.value) for entry in left.entries if entry.kind == slurm.KIND]
            recovered = _of_run(left.folder, left.run_id) and _closed(left.folder)
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


def _closed(folder: Path) -> bool:
    """Bring a killed run's folder into order; whether its records had to be recovered."""
    recovered = recover(folder)
    _mark_killed(folder)
    _tidy(folder)
    return recovered


def _mark_killed(folder: Path) -> None:
    """Say in a run's record that it was killed, and what it measured until then."""
    path = folder / "run.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["status"] == "running":
        phases = [phase.get("name", "start") for phase in data.get("phases", ())]
        phase = phases[-1] if phases else "start"
        what = "the conductor was killed"
        data["status"] = "failed"
        data["failure"] = {"phase": phase, "what": what, "host": None, "service": None, "remedy": "run it again", "log_tail": []}
        for one in data.get("phases", ()):
            one["status"] = "failed" if one.get("status") == "running" else one.get("status")
        _time(data, recorded_until(open_run(folder)) if (folder / "messages.parquet").exists() else 0.0)
        write_json(path, data)
        found = measure(open_run(folder)) if "measure" in phases and data["duration"] > 0.0 else None
        write_json(folder / "responses.json", found.plain() if found else {})
        data["missing"] = dict(found.missing) if found else {"all responses": "the run was killed before it was measured"}
        write_json(path, data)


def _time(data: dict[str, Any], until: float) -> None:
    """Say how long a killed run went on, in place of how long it was to: by its last record, ``until`` on its clock."""
    measured = max(0.0, until - float(data.get("warmup") or 0.0))
    phases = {phase.get("name"): phase for phase in data.get("phases", ())}
    if "measure" in phases:
        measured = min(measured, float(data.get("duration") or 0.0))
    data["duration"] = ceil(1e6 * measured) / 1e6  # the last record lies within it
    for name, took in (("warm up", until), ("measure", measured)):
        if name in phases and phases[name].get("seconds") is None:
            phases[name]["seconds"] = round(took, 4)


def _tidy(folder: Path) -> None:
    """Remove what was half written."""
    for name in ("*.part", "*.reserve", "hosts"):
        for path in folder.glob(name):
            path.unlink(missing_ok=True)

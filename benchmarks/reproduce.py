"""Do packaged examples reproduce, and is what was changed found and named?

    python benchmarks/reproduce.py RESULTS [--only simulated|emulated|planted] [--attempts 20] [--env new|here] [--load 2]

*simulated*: every example that can be simulated is run, packed, moved to another folder and reproduced there, in a new
environment: all files must be the same. *emulated*: every example's crate is made again and again; all claims that the record
confirms must be confirmed. *planted*: one thing is changed in turn (a library's version, the seed, a link's delay by 20 %, a
component's code, the calibration), the run is made again, and the first recorded fact that is told to differ must be that one.

Results are kept in RESULTS/results.jsonl, a line for each attempt; started again, it goes on with what is missing. Emulated
attempts wait until the machine is quiet (below `--load`), and those that it was too busy for ("starved") are made again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estran.spec.calibration import Calibration, Handling
from estran.spec.costs import Cost

HERE = Path(__file__).resolve().parents[1]
SIMULATED = {
    "visual-inspection": [], "overloaded-link": [], "heat-surrogate": [], "smart-grid": [],
    "million-devices": ["--detail", "flow"],
}  # fmt: skip
EMULATED = ("visual-inspection", "overloaded-link", "command-pipeline", "heat-surrogate", "smart-grid")
SHORT = ["--set", "measure.duration=4s", "--set", "measure.warmup=1s"]
QUIET = 2.0


def estran(*argv: str, cwd: Path, timeout: float = 3600, python: str = sys.executable) -> tuple[int, dict[str, Any] | None, str]:
    done = subprocess.run([python, "-P", "-m", "estran.cli.main", *argv], cwd=cwd, capture_output=True, text=True, timeout=timeout)
    try:
        return done.returncode, json.loads(done.stdout), done.stderr
    except ValueError:
        return done.returncode, None, done.stderr


def quiet(most: float) -> None:
    while os.getloadavg()[0] > most:
        time.sleep(5)


class Results:
    def __init__(self, folder: Path, load: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.load = load
        self._file = folder / "results.jsonl"
        self.lines = [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    def known(self, **key: Any) -> bool:
        return any(all(line.get(name) == value for name, value in key.items()) for line in self.lines)

    def add(self, **line: Any) -> None:
        self.lines.append(line)
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


def packed(results: Results, example: str, on: str, options: list[str]) -> Path | None:
    """The example's crate, made once."""
    crate = results.folder / "crates" / f"{example}-{on}.zip"
    if crate.exists():
        return crate
    crate.parent.mkdir(exist_ok=True)
    source = results.folder / "sources" / example
    shutil.copytree(HERE / "examples" / example, source, dirs_exist_ok=True)
    if on == "emulate":
        quiet(results.load)
    code, told, complaint = estran("run", str(source), "--on", on, *options, "--json", cwd=results.folder)
    if code or told is None:
        print(f"{example} on {on} could not be recorded: {complaint or (told or {}).get('failure')}", flush=True)
        return None
    code, _, complaint = estran("export", told["folder"], "--to", "crate", "--out", str(crate), "--json", cwd=results.folder)
    if code:
        print(f"{example} on {on} could not be packed: {complaint}", flush=True)
        return None
    return crate


def simulated(results: Results, env: str) -> None:
    for example, options in SIMULATED.items():
        if results.known(kind="simulated", example=example, env=env):
            continue
        crate = packed(results, example, "simulate", options)
        if crate is None:
            continue
        elsewhere = results.folder / "elsewhere" / example
        elsewhere.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        _, told, complaint = estran("reproduce", str(crate), "--yes", "--env", env, "--json", cwd=elsewhere)
        if told is None:
            print(f"{example}: {complaint}", flush=True)
            continue
        results.add(
            kind="simulated", example=example, env=env, verdict=told["verdict"], files=told["files"]["files"],
            differing=told["files"]["differing"], rewritten=told["files"]["rewritten"], seconds=round(time.monotonic() - begun, 1),
            claims=Counter(claim["verdict"] for claim in told["claims"]),
        )  # fmt: skip


def emulated(results: Results, attempts: int, env: str) -> None:
    for attempt in range(attempts):
        for example in EMULATED:
            if results.known(kind="emulated", example=example, attempt=attempt):
                continue
            crate = packed(results, example, "emulate", [])
            if crate is None:
                continue
            quiet(results.load)
            load = os.getloadavg()[0]
            _, told, complaint = estran("reproduce", str(crate), "--yes", "--env", env, "--json", cwd=results.folder)
            if told is None:
                print(f"{example}: {complaint[-300:]}", flush=True)
                if "starved" not in complaint:
                    results.add(kind="emulated", example=example, attempt=attempt, verdict="none", complaint=complaint[-300:])
                continue
            results.add(
                kind="emulated", example=example, attempt=attempt, verdict=told["verdict"], load=round(load, 2),
                claims=Counter(claim["verdict"] for claim in told["claims"]),
                failed=[claim for claim in told["claims"] if claim["verdict"] == "not confirmed"],
            )  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What is planted: new text in a file, options, or another Python; and what must be told first."""

    name: str
    named: str
    file: str = ""
    old: str = ""
    new: str = ""
    options: tuple[str, ...] = ()
    elsewhere: bool = False


DELAY = "[fog, hpc],  delay: "
CHANGES = (
    Change("seed", "description: seed", options=("--seed", "4242")),
    Change("delay", "fog ↔ hpc].delay: 30ms → 36ms (+20 %)", "experiment.yaml", f"{DELAY}30ms", f"{DELAY}36ms"),
    Change("code", "files: heat.py", "heat.py", "SIDE, SHOWN = 32, 8", "SIDE, SHOWN = 24, 8"),
    Change("calibration", "files: calibration.json", "calibration.json", "0.001", "0.002"),
    Change("library", "environment: package numpy", elsewhere=True),
)


def planted(results: Results, attempts: int) -> None:
    """Short simulated runs of an example with a component of its own, each changed in one way, with many seeds."""
    home = results.folder / "planted"
    home.mkdir(exist_ok=True)
    for attempt in range(attempts):
        base: Path | None = None
        for change in CHANGES:
            if results.known(kind="planted", change=change.name, attempt=attempt):
                continue
            base = base or recorded(home / "base", 100 + attempt, Change("none", ""), sys.executable)
            python = other_python(home / "other") if change.elsewhere else sys.executable
            again = recorded(home / "changed", 100 + attempt, change, python)
            _, told, complaint = estran("compare", str(base), str(again), "--json", cwd=home)
            assert told is not None, complaint
            found = [f"{one['group']}: {one['told']}" for one in told["facts"]["changed"]]
            same = (base / "responses.json").read_bytes() == (again / "responses.json").read_bytes()
            results.add(
                kind="planted", change=change.name, attempt=attempt, named=bool(found) and change.named in found[0],
                first=found[0] if found else None, told=len(found), responses_same=same,
            )  # fmt: skip


def recorded(folder: Path, seed: int, change: Change, python: str) -> Path:
    """A run of heat-surrogate in a fresh folder, with one change; returns a copy of its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "examples" / "heat-surrogate", folder)
    costs = Handling("predictor", "jetson-orin-nano", take=Cost(time=0.001))
    Calibration(handling=(costs,)).save(folder / "calibration.json")
    if change.file:
        text = (folder / change.file).read_text()
        assert change.old in text, change
        (folder / change.file).write_text(text.replace(change.old, change.new, 1))
    options = change.options or ("--seed", str(seed))
    code, told, complaint = estran("run", ".", "--on", "simulate", *SHORT, *options, "--json", cwd=folder, python=python)
    assert code == 0, complaint
    assert told is not None
    kept = folder.parent / f"{folder.name}-run"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder / told["folder"], kept)
    return kept


def other_python(home: Path) -> str:
    """An environment that differs in the version of one library."""
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        site = next(home.glob("lib/python*/site-packages"))
        (site / "others.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
        version = next(one for one in ("2.4.5", "2.4.4") if one != np.__version__)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), f"numpy=={version}"]
        subprocess.run(install, check=True)
    return str(python)


def summary(results: Results) -> None:
    for kind in ("simulated", "emulated", "planted"):
        lines = [line for line in results.lines if line["kind"] == kind]
        if not lines:
            continue
        print(f"\n{kind}")
        key = "change" if kind == "planted" else "example"
        for name in dict.fromkeys(line[key] for line in lines):
            own = [line for line in lines if line[key] == name]
            good = sum(line["named"] if kind == "planted" else line["verdict"] == "confirmed" for line in own)
            print(f"  {name:20} {good} of {len(own)} {'named first' if kind == 'planted' else 'confirmed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", choices=["simulated", "emulated", "planted"])
    parser.add_argument("--attempts", type=int, default=20)
    parser.add_argument("--env", choices=["new", "here"], default="new")
    parser.add_argument("--load", type=float, default=QUIET, help="most load that an emulated attempt begins at")
    asked = parser.parse_args()
    results = Results(asked.results.resolve(), asked.load)
    if asked.only in (None, "simulated"):
        simulated(results, asked.env)
    if asked.only in (None, "planted"):
        planted(results, asked.attempts)
    if asked.only in (None, "emulated"):
        emulated(results, asked.attempts, "here")
    summary(results)


if __name__ == "__main__":
    main()

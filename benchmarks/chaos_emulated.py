"""Random faults of emulated runs, with real processes, and what must hold whatever happens.

    python benchmarks/chaos_emulated.py --runs 50 [--first 0] [--on emulate:tun] [--keep FOLDER]

Each run has four hosts, two sensors that number what they send, a relay, an archive that writes down what it has processed, a
trainer and a predictor; and a schedule of faults that is drawn from the run's number. Sensors and archive write each step to a file
of their own before they go on, so that nothing that is known of them is lost with their processes. In the end must hold:

* *acknowledged*: what a sensor was told to be processed, the archive has processed, for so long does the relay hold it;
* *complete and in order*: of each life of a sensor the archive has seen a beginning without a gap, each number for the first time
  in order; and of a last life all that was sent until shortly before the end;
* *once*: no number comes twice, unless a replica on the way was killed, or its host crashed;
* *versions*: of each life of the predictor the versions of its models never go back;
* *whole*: no model is torn: its checksum is that of its content;
* *over*: the run ends by itself, done, each fault has happened, and no process and no control group of it is left.

A run that breaks one prints the seed and the schedule; `--first SEED --runs 1` does it again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from estran.errors import EstranError
from estran.platforms.emulated.limits.cgroup import FOLDER, mounts
from estran.spec import load_text

DURATION: Final = 12.0
LAST: Final = 8.0
"""Seconds of the measurement after which no fault lasts: the rest is for recovering."""
SETTLED: Final = 1.5
"""Seconds before the end whose messages may be under way."""
TIMEOUT: Final = 150.0
BUSY: Final = ("the infrastructure is not what was asked", "this machine cannot limit CPU", "nothing can be emulated here")
"""What is said of a machine on which too much else runs, among other things; then it is tried again."""

# Devices as fast as any machine: that they get their speed can be shown also where others compute.
EXPERIMENT: Final = """
experiment: chaos
seed: SEED
layers:
  edge: {hosts: 2, device: cloud-vm-2}
  fog: {hosts: 1, device: cloud-vm-2}
  cloud: {hosts: 1, device: cloud-vm-2}
network:
  - {between: [edge, fog], delay: 3ms, rate: 50mbit}
  - {between: [fog, cloud], delay: 10ms, rate: 50mbit}
services:
  sensor: {on: edge, component: "chaos:Sensor", restart: on-failure}
  relay: {on: fog, component: "chaos:Relay", restart: on-failure}
  archive: {on: cloud, component: "chaos:Archive", restart: on-failure}
  trainer: {on: cloud, component: "chaos:Trainer", restart: on-failure}
  predictor: {on: fog, component: "chaos:Predictor", restart: on-failure}
streams:
  - {from: sensor.readings, to: relay.readings, delivery: acknowledged}
  - {from: relay.relayed, to: archive.readings, delivery: acknowledged}
  - {from: trainer.models, to: predictor.models, delivery: latest}
measure: {warmup: 0.5s, duration: DURATIONs}
"""

COMPONENTS: Final = '''
import asyncio, os, secrets, time, zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estran.runtime.component import Component
from estran.runtime.ports import Input, Output


@dataclass(frozen=True)
class Reading:
    life: str
    number: int


@dataclass(frozen=True)
class Model:
    life: str
    version: int
    weights: np.ndarray
    checksum: int


class Noting(Component):
    """Writes lines that survive the process."""

    async def setup(self) -> None:
        self.life = f"{self.name}.{secrets.token_hex(3)}"
        self._file = os.open(Path(os.environ["CHAOS_NOTES"]) / self.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, (self.life, *words))) + "\\n").encode())


class Sensor(Noting):
    readings: Output[Reading]

    async def run(self) -> None:
        number = 0
        while True:
            await self.readings.send(Reading(self.life, number))
            self.note("sent", number, time.monotonic())
            number += 1
            if number % 25 == 0:
                await self.readings.drain()
                self.note("acknowledged", number - 1, time.monotonic())
            await self.clock.sleep(0.02)


class Relay(Noting):
    readings: Input[Reading]
    relayed: Output[Reading]

    async def run(self) -> None:
        async for message in self.readings:
            await self.relayed.send(message.payload)
            await self.relayed.drain()


class Archive(Noting):
    readings: Input[Reading]

    async def run(self) -> None:
        async for message in self.readings:
            self.note("got", message.payload.life, message.payload.number)


class Trainer(Noting):
    models: Output[Model]

    async def run(self) -> None:
        version = 0
        while True:
            version += 1
            weights = self.rng.normal(size=20_000)
            await self.models.send(Model(self.life, version, weights, zlib.crc32(weights.tobytes())))
            await self.clock.sleep(0.1)


class Predictor(Noting):
    models: Input[Model]

    async def run(self) -> None:
        async for message in self.models:
            model = message.payload
            whole = zlib.crc32(np.ascontiguousarray(model.weights).tobytes()) == model.checksum
            self.note("model", model.life, model.version, "whole" if whole else "torn")
'''

LINKS: Final = (("edge-0", "fog-0"), ("edge-1", "fog-0"), ("fog-0", "cloud-0"))
HOSTS: Final = ("edge-0", "edge-1", "fog-0", "cloud-0")
SERVICES: Final = ("sensor-0", "sensor-1", "relay-0", "archive-0", "predictor-0", "trainer-0")
KINDS: Final = ("cut", "degrade", "flap", "partition", "crash", "reboot", "slow", "hang", "kill", "memory-pressure")


def draw(seed: int) -> dict[str, dict[str, Any]]:
    """A schedule of two to five faults, drawn again while two want the same at once."""
    rng = np.random.default_rng(seed)
    while True:
        faults = {f"f{number}": _fault(rng) for number in range(int(rng.integers(2, 6)))}
        try:
            load_text(described(seed, faults))
        except EstranError:
            continue
        return faults


def described(seed: int, faults: Mapping[str, Any]) -> str:
    """The experiment with its faults."""
    return EXPERIMENT.replace("SEED", str(seed)).replace("DURATION", f"{DURATION:g}") + f"faults: {json.dumps(faults)}\n"


def _fault(rng: np.random.Generator) -> dict[str, Any]:
    kind = str(rng.choice(KINDS))
    lasts = round(float(rng.uniform(0.2, 3.0)), 2)
    when = {"at": f"{float(rng.uniform(0.2, LAST - lasts)):.2f}s", "for": f"{lasts}s"}
    if kind in ("cut", "degrade", "flap"):
        what: dict[str, Any] = {kind: list(LINKS[int(rng.integers(len(LINKS)))])}
        if kind == "degrade":
            what |= {"delay": f"{int(rng.integers(10, 200))}ms", "loss": f"{int(rng.integers(0, 30))}%"}
        if kind == "flap":
            what |= {"period": f"{float(rng.uniform(0.2, 1.0)):.2f}s", "share": round(float(rng.uniform(0.2, 0.8)), 2)}
    elif kind == "partition":
        what = {kind: [["edge", "fog"], "cloud"] if rng.random() < 0.5 else ["edge", ["fog", "cloud"]]}
    elif kind in ("kill", "hang"):
        what = {kind: str(rng.choice(SERVICES))}
        if kind == "kill" and rng.random() < 0.5:
            when.pop("for")
    else:
        what = {kind: str(rng.choice(HOSTS))}
        what |= {"speed": 0.3} if kind == "slow" else {"memory": "64MiB"} if kind == "memory-pressure" else {}
    return {**what, **when}


@dataclass(frozen=True)
class Notes:
    """What replicas have written down: (life, words…)."""

    lines: list[list[str]]

    @classmethod
    def read(cls, folder: Path) -> Notes:
        return cls([line.split() for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()])

    def of(self, what: str) -> list[list[str]]:
        """Notes of a kind: life, then what follows."""
        return [[line[0], *line[2:]] for line in self.lines if line[1] == what]


def broken(notes: Notes, faults: list[dict[str, Any]]) -> list[str]:
    """What does not hold of what must."""
    found = []
    archived: dict[str, list[int]] = {}
    for _, life, number in notes.of("got"):
        archived.setdefault(life, []).append(int(number))
    sent: dict[str, list[tuple[int, float]]] = {}
    for life, number, at in notes.of("sent"):
        sent.setdefault(life, []).append((int(number), float(at)))
    acknowledged = {life: int(number) for life, number, _ in notes.of("acknowledged")}
    end = max(at for numbers in sent.values() for _, at in numbers)
    last = {replica: life for life in sent for replica in [life.partition(".")[0]]}
    killed = any(one["kind"] in ("kill", "crash", "reboot") for one in faults)
    for life, numbers in sent.items():
        seen = archived.get(life, [])
        first = list(dict.fromkeys(seen))
        if first != list(range(len(first))):
            found.append(f"order: {life} came as {_odd(first)}")
        if acknowledged.get(life, -1) >= len(first):
            found.append(f"acknowledged: {life} was told of {acknowledged[life]}, but {len(first)} came")
        due = sum(at < end - SETTLED for _, at in numbers)
        if last[life.partition(".")[0]] == life and len(first) < due:
            found.append(f"complete: of {due} that {life} sent in time, {len(first)} came")
        if (twice := len(seen) - len(first)) and not killed:
            found.append(f"once: {twice} of {life} came twice")
    versions: dict[tuple[str, str], int] = {}
    for life, trainer, version, whole in notes.of("model"):
        if whole != "whole":
            found.append(f"whole: {trainer} {version} is torn")
        if int(version) < versions.get((life, trainer), 0):
            found.append(f"versions: {life} went back to {version} of {trainer}")
        versions[life, trainer] = int(version)
    return found


def _odd(numbers: list[int]) -> str:
    at = next(place for place, number in enumerate(numbers) if number != place)
    return f"…, {', '.join(map(str, numbers[max(0, at - 2) : at + 3]))}, … ({len(numbers)} numbers)"


def left(run_id: str) -> list[str]:
    """Processes and control groups of a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"ESTRAN_RUN={run_id}".encode() in path.read_bytes().split(b"\0"):
                found.append(f"process {path.parent.name}")
        except OSError:
            continue
    for mount in mounts():
        found += [folder for folder, _, _ in os.walk(mount.path) if folder.endswith(f"/{FOLDER}/{run_id}")]
    return found


def one(seed: int, on: str, folder: Path) -> tuple[list[str], Counter[str]]:
    """One run: what does not hold, and how often each kind of fault happened."""
    faults = draw(seed)
    (folder / "experiment.yaml").write_text(described(seed, faults))
    (folder / "chaos.py").write_text(COMPONENTS)
    notes = folder / "notes"
    notes.mkdir()
    state = {"XDG_STATE_HOME": str(folder / "state"), "CHAOS_NOTES": str(notes)}
    argv = [sys.executable, "-m", "estran.cli.main", "run", "experiment.yaml", "--on", on, "--out", "runs"]
    try:
        done = subprocess.run(
            argv, cwd=folder, env={**os.environ, **state}, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"over: it had not ended after {TIMEOUT:g} s"], Counter()
    runs = list(folder.glob("runs/*/*/run.json"))
    if done.returncode != 0 or len(runs) != 1:
        said = str((json.loads(runs[0].read_text())["failure"] if runs else None) or done.stderr.strip()[-500:])
        if any(words in said for words in BUSY):
            return ["busy"], Counter()
        return [f"over: exit status {done.returncode}: {said}"], Counter()
    happened = json.loads((runs[0].parent / "faults.json").read_text())["faults"]
    found = broken(Notes.read(notes), happened)
    found += [f"over: {each['key']} did not happen: {each['note']}" for each in happened if each["begun"] is None]
    stays = left(json.loads(runs[0].read_text())["id"])
    return [*found, *(f"over: {each} is left" for each in stays)], Counter(each["kind"] for each in happened)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="the first run's seed")
    parser.add_argument("--on", default="emulate", help="emulate, or emulate:ENGINE")
    parser.add_argument("--keep", type=Path, help="where folders of runs that break something go")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the run under way is ended, too
    bad, busy, kinds, begun = [], 0, Counter[str](), time.monotonic()
    for seed in range(options.first, options.first + options.runs):
        with tempfile.TemporaryDirectory(prefix="estran-chaos-") as name:
            for _ in range(3):
                folder = Path(tempfile.mkdtemp(dir=name))
                found, happened = one(seed, options.on, folder)
                if found != ["busy"]:
                    break
                busy += 1
            kinds += happened
            print(f"seed {seed}: {'; '.join(found) or 'all holds'}  [{', '.join(happened)}]", flush=True)
            if found:
                bad.append(seed)
                print(f"  faults: {json.dumps(draw(seed))}", flush=True)
                if options.keep is not None:
                    shutil.copytree(folder, options.keep / str(seed), dirs_exist_ok=True)
    took = time.monotonic() - begun
    print(f"{options.runs} runs on {options.on} in {took:.0f} s: {len(bad)} broke something {bad or ''}")
    print("faults that happened: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    if busy:
        print(f"{busy} attempts were given up because the machine was too busy to shape links as asked")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())

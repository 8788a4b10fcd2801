"""Random experiments with random faults, in virtual time, and what must hold of each run.

    case = draw(seed)                # an experiment as plain data: write it as JSON, run it again at any time
    wrong = violations(case)         # empty, or sentences that say what does not hold
    small = shrink(case)             # the same with as few and as short faults as still fail

What must hold: every run ends, as done; each acknowledged stream hands over, in order and without gaps, what each life of its
producer sent, and flows again when all faults are over; a message comes twice only to a consumer that began anew; what a predictor
answers with are models that were published, and never an older one than before.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from estran.errors import EstranError, SpecErrors
from estran.observe.queries import Run, open_run

Case = dict[str, Any]
"""An experiment as plain data."""

DURATION: Final = 12.0
BEFORE: Final = 6.0
"""Faults begin before this moment of the measurement."""
LONGEST: Final = 3.0
SETTLED: Final = DURATION + 1 - BEFORE - LONGEST - 0.5
"""Seconds after the last fault within which every stream must move: a connection that was given up is made anew, and restarts by
policy wait."""
PATIENCE: Final = 60
"""Seconds of processor time after which a run counts as hanging."""
_LINKS: Final = (["edge", "fog"], ["fog", "cloud"], ["edge", "cloud"])
_HOSTS: Final = ("edge-0", "edge", "fog", "cloud")
_SERVICES: Final = ("camera", "camera-1", "detector", "trainer")


def draw(seed: int) -> Case:
    """An experiment with one to five faults."""
    rng = np.random.default_rng(seed)
    document = _experiment(rng, seed)
    for number in range(int(rng.integers(1, 6))):
        document["faults"][f"f{number}"] = _fault(rng)
        if not _loads(document):  # befalls what another one has not given back
            del document["faults"][f"f{number}"]
    return document


def _experiment(rng: np.random.Generator, seed: int) -> Case:
    def pick(*options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    def link(ends: list[str]) -> dict[str, Any]:
        return {
            "between": ends, "delay": pick("1ms", "10ms", "60ms"), "jitter": pick("0s", "1ms"), "rate": pick("1mbit", "100mbit"),
            "loss": pick("0%", "0%", "1%"),
        }  # fmt: skip

    restart = pick("never", "on-failure", "always")
    publish = {"every": pick("0.2s", "1s", "5s"), "send": pick("full", {"delta": True, "keyframe": pick(4, 1000)})}
    models = {"delivery": pick("latest", "latest", "acknowledged"), "routing": "all"}
    asking = {"from": "detector.requests", "to": "trainer.requests", "routing": "all"}
    return {
        "experiment": f"chaos-{seed}",
        "seed": seed,
        "layers": {
            "edge": {"hosts": 2, "device": "raspberry-pi-4"},
            "fog": {"hosts": 1, "device": "jetson-orin-nano"},
            "cloud": {"hosts": 1, "device": "cloud-vm-8"},
        },
        "network": [link(ends) for ends in _LINKS],
        "services": {
            "camera": {
                "on": "edge", "component": "source", "restart": restart, "with": {"data": "digits", "rate": pick("20/s", "60/s")},
            },
            "detector": {"on": pick("edge", "fog"), "component": "predictor", "restart": restart},
            "trainer": {
                "on": "cloud", "component": "trainer", "restart": restart,
                "with": {"learner": "ogd", "publish": publish},
            },
        },
        "streams": [
            {"from": "camera.samples", "to": ["detector.samples", "trainer.samples"], "capacity": pick(4, 32, 1024)},
            {"from": "trainer.models", "to": "detector.models", **models},
            *([asking] if pick(True, False) else []),
        ],
        "measure": {"warmup": "1s", "duration": f"{DURATION:g}s"},
        "faults": {},
    }  # fmt: skip


def _fault(rng: np.random.Generator) -> dict[str, Any]:
    def pick(*options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    made: list[dict[str, Any]] = [
        {"cut": pick(*_LINKS), "one-way": pick(True, False, False)},
        {"degrade": pick(*_LINKS), "delay": "150ms", "loss": pick("0%", "5%"), "rate": pick("200kbit", "10mbit")},
        {"flap": pick(*_LINKS), "period": pick("0.3s", "1s"), "share": pick(0.2, 0.7)},
        {"partition": pick([["edge", "fog"], ["cloud"]], [["edge-0"], ["fog", "cloud", "edge-1"]])},
        {"crash": pick(*_HOSTS)},
        {"reboot": pick(*_HOSTS)},
        {"slow": pick(*_HOSTS), "speed": pick(0.05, 0.5)},
        {"clock-skew": pick(*_HOSTS), "offset": pick("10ms", "2s")},
        {"kill": pick(*_SERVICES)},
        {"hang": pick(*_SERVICES)},
        {"corrupt": pick("camera.samples", "trainer.models"), "share": pick(0.05, 0.5)},
        {"burst": "camera", "factor": pick(2, 8)},
        {"drift": "camera", "amount": 0.5, "change": pick("shift", "rotate", "swap")},
    ]
    fault = pick(*made)
    lasting = round(float(rng.uniform(0.05, LONGEST)), 3)
    if rng.random() < 0.25:
        fault["random"] = {"times": int(rng.integers(1, 4)), "within": ["0s", f"{BEFORE:g}s"]}
        lasting = min(lasting, 0.5)
    else:
        fault["at"] = f"{rng.uniform(0, BEFORE):.3f}s"
    if "kill" not in fault or rng.random() < 0.7:
        fault["for"] = f"{lasting}s"
    return {key: value for key, value in fault.items() if value is not False}


def _loads(case: Case) -> bool:
    from estran.spec import load_text

    try:
        load_text(json.dumps(case))
    except SpecErrors:
        return False
    return True


def violations(case: Case) -> list[str]:
    """Run a case, and say what does not hold of it."""
    from estran.run.prepare import Simulation, prepare
    from estran.run.record import QuietProgress
    from estran.run.session import execute

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "experiment.yaml"
        file.write_text(json.dumps(case))
        try:
            prepared = prepare(str(file), on="simulate", simulation=Simulation("none"))
            with _patience():
                folder, status = execute(prepared, out=Path(place) / "runs", progress=QuietProgress())
        except EstranError as error:
            return [f"the run could not be made: {error}"]
        except _HangsError:
            return [f"the run hangs: it was not over after {PATIENCE} s of processor time"]
        if status != "done":
            failure = json.loads((folder / "run.json").read_text()).get("failure")
            return [f"the run ended as {status}: {failure}"]
        return list(_broken(open_run(folder), case))


class _HangsError(KeyboardInterrupt):
    """Passes through whatever catches errors, as Ctrl-C does."""


@contextmanager
def _patience() -> Iterator[None]:
    def over(number: int, frame: object) -> None:
        raise _HangsError

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def shrink(case: Case) -> Case:
    """Leave out faults, and have those that are left happen once and shorter, as long as something still does not hold."""
    case = deepcopy(case)
    for name in list(case["faults"]):
        without = {**case, "faults": {key: value for key, value in case["faults"].items() if key != name}}
        if without["faults"] and violations(without):
            case = without
    for name, fault in list(case["faults"].items()):
        if "for" in fault:
            for part in (0.25, 0.5, 0.75):
                shorter = {**fault, "for": f"{float(fault['for'].removesuffix('s')) * part:.3f}s"}
                tried = {**case, "faults": {**case["faults"], name: shorter}}
                if violations(tried):
                    case = tried
                    break
    return case


def _broken(run: Run, case: Case) -> Iterator[str]:
    happened = run.document("faults")["faults"]
    with run.database() as connection:
        rows = connection.execute(
            "SELECT stream, origin, receiver, seq, sent, started, done, version, answer FROM messages ORDER BY done, received, seq"
        ).fetchall()
        begun: Mapping[str, list[float]] = defaultdict(list)
        for replica, time in connection.execute(
            "SELECT replica, time FROM events WHERE event = 'started' ORDER BY time"
        ).fetchall():
            begun[replica].append(time)
        published = connection.execute("SELECT count(*) FROM events WHERE event = 'published'").fetchone()
    by_channel: Mapping[tuple[str, str, str], list[Any]] = defaultdict(list)
    for row in rows:
        by_channel[row[:3]].append(row)
    lasting = [one["ended"] for one in happened if one["ended"] is not None]
    over = max([one["begun"] or 0.0 for one in happened] + [ended for ended in lasting if ended < 1 + DURATION], default=0.0)
    dead = _dead(begun, happened)
    for channel in run.channels:
        key = channel["stream"], channel["producer"], channel["consumer"]
        found = by_channel.get(key, [])
        name = channel["name"]
        if channel["delivery"] == "acknowledged":
            yield from _whole(name, found, begun[channel["producer"]])
            if key[0] == "camera.samples":  # of models a predictor takes the newest first
                yield from _ordered(name, found, begun[channel["producer"]], begun[channel["consumer"]])
            yield from _once(name, found, begun[channel["consumer"]])
            # A source waits for the slowest of its consumers.
            flows = key[0] == "camera.samples" and not dead & {channel["producer"], "trainer-0", *_detectors(run.document("plan"))}
            if flows and not any(over < row[6] < over + SETTLED for row in found):
                yield f"{name} did not move within {SETTLED:g} s after the last fault was over at {over:g} s"
    yield from _versions(rows, begun, int(published[0]) if published else 0)


def _detectors(plan: Any) -> set[str]:
    return {replica["name"] for replica in plan["replicas"] if replica["service"] == "detector"}


def _dead(begun: Mapping[str, list[float]], happened: list[Any]) -> set[str]:
    """Replicas that went down and never began anew."""
    down: dict[str, float] = {}
    for one in happened:
        if one["kind"] in ("crash", "reboot", "kill") and one["begun"] is not None:
            for replica in one["replicas"]:
                down[replica] = max(down.get(replica, 0.0), one["begun"])
    return {replica for replica, when in down.items() if not any(time >= when for time in begun[replica])}


def _life(time: float, begun: list[float]) -> int:
    """Which life of a replica a moment belongs to."""
    return sum(start <= time for start in begun[1:])


def _whole(name: str, rows: list[Any], producer: list[float]) -> Iterator[str]:
    """Of each life of its producer, what came is without gaps from the first on."""
    lives: Mapping[int, set[int]] = defaultdict(set)
    for row in rows:
        lives[_life(row[4], producer)].add(row[3])
    for life, numbers in lives.items():
        missing = set(range(max(numbers) + 1)) - numbers
        if missing:
            yield f"{name}: of life {life} of its producer {len(missing)} of {max(numbers) + 1} were lost, the first {min(missing)}"


def _ordered(name: str, rows: list[Any], producer: list[float], consumer: list[float]) -> Iterator[str]:
    """Within one life of both ends numbers only rise."""
    for one, other in pairwise(rows):
        same = _life(one[4], producer) == _life(other[4], producer) and _life(one[5], consumer) == _life(other[5], consumer)
        if same and other[3] <= one[3]:
            yield f"{name}: {other[3]} was processed after {one[3]}, at {other[6]:g} s"
            return
        if _life(other[4], producer) < _life(one[4], producer) and _life(one[5], consumer) == _life(other[5], consumer):
            yield f"{name}: a message of a former life of the producer came after one of a later life, at {other[6]:g} s"
            return


def _once(name: str, rows: list[Any], consumer: list[float]) -> Iterator[str]:
    """Only a consumer that began anew processes a message again."""
    seen: set[tuple[int, float, int]] = set()
    for row in rows:
        key = row[3], row[4], _life(row[5], consumer)
        if key in seen:
            yield f"{name}: message {row[3]} was processed twice by one life of its consumer, at {row[6]:g} s"
            return
        seen.add(key)


def _versions(rows: list[Any], begun: Mapping[str, list[float]], published: int) -> Iterator[str]:
    """What answers is a published model, and no older one than before in the same lives of predictor and trainer."""
    newest: dict[tuple[str, int, int], int] = {}
    for row in rows:
        if row[8] is None or row[7] is None:
            continue
        receiver, version, time = row[2], row[7], row[5]
        if version > published:
            yield f"{receiver} answered with version {version}, of {published} that were published"
            return
        key = receiver, _life(time, begun[receiver]), _life(time, begun["trainer-0"])
        if version < newest.get(key, 0) and len(begun["trainer-0"]) == 1:
            yield f"{receiver} answered with version {version} after {newest[key]}, at {row[6]:g} s"
            return
        newest[key] = max(version, newest.get(key, 0))

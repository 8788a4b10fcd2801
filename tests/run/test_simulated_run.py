"""Whole runs in virtual time: repeatable to the byte, lawful, and quick."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from estran.errors import RequestError
from estran.run import conductor
from estran.spec.costs import FREE
from tests.run.experiments import PARTS, TINY, command, environment, estran, run_folder, start, wait_for_phase
from tests.run.experiments import record as only_record
from tests.run.simulated import digests, ended, record, rows, simulate, started, value, written

LEARNING = """
experiment: learning
seed: 7
layers: {edge: {hosts: 3, device: raspberry-pi-4}, fog: {hosts: 1, device: jetson-orin-nano}, cloud: {hosts: 1, device: cloud-vm-2}}
network:
  - {between: [edge, fog], delay: 5ms, jitter: 1ms, rate: 10mbit, loss: 0.5%}
  - {between: [edge, cloud], delay: 45ms, rate: 50mbit}
  - {between: [fog, cloud], delay: 40ms, jitter: 2ms, rate: 5mbit}
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 40/s, arrivals: poisson}}
  detector: {on: fog, component: predictor, with: {batch: {max_size: 8}}}
  trainer: {on: cloud, component: trainer, with: {learner: {mlp: {hidden: [16]}}, publish: {every: 0.4s}}}
  log: {on: cloud, component: "parts:Notes"}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples]}
  - {from: trainer.models, to: detector.models, delivery: latest}
  - {from: detector.predictions, to: log.predictions}
measure: {warmup: 0.5s, duration: 3s}
"""
NOTES = """
from estran.components.messages import Predictions
from estran.runtime.component import Component
from estran.runtime.ports import Input

SEEN = []

class Notes(Component):
    predictions: Input[Predictions]

    async def run(self) -> None:
        self.log.info("listening")
        async for message in self.predictions:
            SEEN.append(message.payload.version)
            if len(SEEN) % 50 == 0:
                print(f"{len(SEEN)} answers,", end=" ")
                print("the last by version", message.payload.version)
"""
LEARN_PARTS = {"parts": NOTES}
PARTS_MODULE = {"parts": PARTS.replace('await self.compute(abs, message.payload.value, operation="add")', "message.payload.value")}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run that others are compared with."""
    return simulate(tmp_path_factory.mktemp("learned"), LEARNING, LEARN_PARTS, trace=True)


# -- repeatable


@pytest.mark.parametrize("seconds", ["1s, duration: 3s", "0.7s, duration: 3.1s", "0.3s, duration: 2.9s"])
def test_a_run_ends_also_where_sums_of_floats_miss_its_end(tmp_path: Path, seconds: str) -> None:
    text = TINY.replace("0.3s, duration: 1.5s", seconds)
    found = record(simulate(tmp_path, text, PARTS_MODULE))
    assert found["status"] == "done", found["failure"]


def test_a_run_goes_on_where_nobody_reads_its_progress_any_more(tmp_path: Path) -> None:
    written(tmp_path, TINY, PARTS_MODULE)
    process = subprocess.Popen(
        command(["run", "experiment.yaml", "--on", "simulate"]),
        cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"provision")
    process.stderr.close()  # as `2>&1 | head -1` does
    process.wait(60)
    assert only_record(tmp_path)["status"] == "done"


def test_the_same_seed_gives_the_same_bytes(learned: Path, tmp_path: Path) -> None:
    assert record(learned)["status"] == "done", record(learned)["failure"]
    first, again = digests(learned), digests(simulate(tmp_path, LEARNING, LEARN_PARTS, trace=True))
    assert len(first) == 6 + 1
    assert again == first


def test_another_seed_gives_other_runs(learned: Path, tmp_path: Path) -> None:
    other = digests(simulate(tmp_path, LEARNING, LEARN_PARTS, seed=8, trace=True))
    same = {name for name, digest in digests(learned).items() if other[name] == digest}
    assert not same & {"responses.json", "messages.parquet", "metrics.parquet", "operations.parquet", "events.parquet", "trace.txt"}


def test_the_order_of_starting_does_not_matter(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = conductor.wire

    def shuffled(*args, **kwargs):  # type: ignore[no-untyped-def]
        launches = whole(*args, **kwargs)
        random.Random(3).shuffle(launches)
        return launches

    monkeypatch.setattr(conductor, "wire", shuffled)
    assert digests(simulate(tmp_path, LEARNING, LEARN_PARTS, trace=True)) == digests(learned)


def test_the_order_of_hashing_and_the_processors_kernels_do_not_matter(learned: Path, tmp_path: Path) -> None:
    """Another process, other hashes of strings, other kernels of linear algebra and of compiled code."""
    written(tmp_path, LEARNING, LEARN_PARTS)
    other = {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NUMBA_CPU_NAME": "generic",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "PYTHONHASHSEED": "5",
    }
    folder = ended(started(tmp_path, "--trace", "--calibration", "none", env=other))
    assert digests(tmp_path / folder) == digests(learned)


COMMANDS = """
experiment: commands
seed: 11
layers: {edge: {hosts: 4, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 8ms, jitter: 1ms, rate: 20mbit, loss: 0.2%}]
services:
  probe: {on: edge, command: ./probe, model: {calls: [{to: store, size: 5kB, rate: 20/s, arrivals: poisson}]}}
  asker: {on: edge, command: ./asker, model: {calls: [{to: store, size: 50B, rate: 10/s}]}}
  store: {on: cloud, command: ./store, ports: [9000], model: {serves: {cost: {time: 5ms, distribution: exponential}, answer: 2kB}}}
measure: {warmup: 0.5s, duration: 5s}
"""


def test_commands_that_meet_at_one_instant_do_so_in_a_defined_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four askers ask at the same instants; in which order they were started does not matter."""
    first = simulate(tmp_path / "first", COMMANDS, trace=True)
    assert record(first)["status"] == "done", record(first)["failure"]
    whole = conductor.wire
    monkeypatch.setattr(conductor, "wire", lambda *args: list(reversed(whole(*args))))
    again = simulate(tmp_path / "again", COMMANDS, trace=True)
    exchanges = [(folder / "exchanges.parquet").read_bytes() for folder in (first, again)]
    assert exchanges[0] == exchanges[1]
    assert digests(again) == digests(first)
    assert len((first / "trace.txt").read_text().splitlines()) > 500


def _in_worker(folder: str, seed: int) -> dict[str, str]:
    return digests(simulate(Path(folder), LEARNING, LEARN_PARTS, seed=seed))


def test_one_worker_process_gives_what_two_give(tmp_path: Path) -> None:
    found = []
    for workers in (1, 2):
        with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
            runs = [pool.submit(_in_worker, str(tmp_path / f"{workers}-{seed}"), seed) for seed in (1, 2)]
            found.append([run.result() for run in runs])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_a_trace_tells_the_order_of_events(learned: Path) -> None:
    lines = (learned / "trace.txt").read_text().splitlines()
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    counted = rows(learned, "SELECT count(*) FROM operations")[0][0]
    assert sum(line.split()[2] == "computed" for line in lines) == counted
    assert {line.split()[1] for line in lines} >= {"camera-0", "camera-2", "detector-0", "trainer-0", "log-0"}


# -- lawful


def test_every_message_is_accounted_for(learned: Path) -> None:
    """Sent = processed + superseded + what was under way at the end, on every channel."""
    channels = {(c["stream"], c["producer"], c["consumer"]): c for c in json.loads((learned / "plan.json").read_text())["channels"]}
    counted = {
        json.loads(detail)["channel"]: json.loads(detail)
        for (detail,) in rows(learned, "SELECT detail FROM events WHERE event = 'channel'")
    }
    assert len(counted) == len(channels) == 8
    processed = rows(
        learned, "SELECT stream, origin, receiver, count(*), count(DISTINCT seq), max(seq) + 1 FROM messages GROUP BY ALL"
    )
    assert len(processed) == len(channels)
    for stream, origin, receiver, count, distinct, last in processed:
        channel = channels[stream, origin, receiver]
        sent = counted[channel["name"]]["frames"]
        assert count == distinct
        if channel["delivery"] == "acknowledged":
            assert count == last == sent  # it drained in the end
        else:
            assert count <= last == sent


def test_effects_follow_their_causes(learned: Path) -> None:
    ((wrong, every, fastest),) = rows(
        learned,
        "SELECT count(*) FILTER (NOT (created <= sent AND sent <= received AND received <= started AND started <= done)), "
        "count(*), "
        "min(received - sent) FILTER (stream = 'camera.samples' AND receiver = 'trainer-0') FROM messages",
    )
    assert wrong == 0
    assert every > 500
    assert fastest >= 0.045
    assert rows(
        learned,
        "SELECT count(*) FROM (SELECT done, lead(done) OVER (PARTITION BY stream, origin, receiver ORDER BY seq) AS next "
        "FROM messages) WHERE next < done",
    ) == [(0,)]


def test_answers_are_by_models_that_had_been_published(learned: Path) -> None:
    published = {
        json.loads(detail)["version"]: at
        for at, detail in rows(learned, "SELECT time, detail FROM events WHERE event = 'published'")
    }
    answers = rows(
        learned, "SELECT version, done FROM messages WHERE receiver = 'detector-0' AND stream = 'camera.samples' ORDER BY done"
    )
    assert len(published) > 5
    assert all(done >= published[version] + 0.03 for version, done in answers)
    versions = [version for version, _ in answers]
    assert versions == sorted(versions)


QUEUE = """
experiment: queue
seed: 3
layers: {edge: {hosts: 1, device: cloud-vm-2}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: "${delay}", rate: 100mbit}]
services:
  source: {on: edge, component: source, with: {data: digits, rate: "${rate}", arrivals: poisson}}
  server:
    on: cloud
    component: "parts:Server"
    costs: {serve: {time: 10ms, distribution: exponential}, take: 0s, wake: 0s, receive: 0s}
streams: [{from: source.samples, to: server.samples, capacity: "${capacity}"}]
factors: {rate: [30/s, 60/s, 90/s, 130/s], delay: [1ms, 20ms, 80ms], capacity: [1000, 20]}
measure: {warmup: 1s, duration: 30s}
"""
SERVER = {
    "parts": """
from estran.components.messages import Samples
from estran.runtime.component import Component
from estran.runtime.ports import Input

class Server(Component):
    samples: Input[Samples]

    async def run(self) -> None:
        async for message in self.samples:
            await self.compute(len, message.payload, operation="serve")
"""
}


def test_latency_grows_with_load_and_with_delay(tmp_path: Path) -> None:
    def latency(*chosen: str) -> float:
        folder = tmp_path / "-".join(chosen).replace("/", "").replace("=", "")
        return value(simulate(folder, QUEUE, SERVER, overrides=chosen), "latency")

    by_load = [latency(f"rate={rate}") for rate in ("30/s", "60/s", "90/s")]
    assert by_load == sorted(by_load)
    assert by_load[0] == pytest.approx(0.0014 + 0.01 / (1 - 0.3), rel=0.15)  # M/M/1
    assert by_load[1] == pytest.approx(0.0014 + 0.01 / (1 - 0.6), rel=0.25)
    by_delay = [by_load[0], *(latency("rate=30/s", f"delay={delay}") for delay in ("20ms", "80ms"))]
    assert by_delay[1] - by_delay[0] == pytest.approx(0.019, rel=0.01)
    assert by_delay[2] - by_delay[1] == pytest.approx(0.060, rel=0.01)


def test_simulated_time_is_not_real_time(tmp_path: Path) -> None:
    folder = simulate(tmp_path, QUEUE, SERVER, overrides=["measure.duration=60s"])
    seconds = {phase["name"]: phase["seconds"] for phase in record(folder)["phases"]}
    assert record(folder)["duration"] == 60
    assert seconds["measure"] < 20
    assert rows(folder, "SELECT max(done) > 60 FROM messages") == [(True,)]


# -- too much


@pytest.mark.parametrize("capacity", ["1000", "20"], ids=["waiting at the server", "held back at the source"])
def test_a_service_that_cannot_keep_up_is_named(tmp_path: Path, capacity: str) -> None:
    folder = simulate(tmp_path, QUEUE, SERVER, overrides=["rate=130/s", f"capacity={capacity}"])
    assert record(folder)["status"] == "done"
    (warning,) = [text for text in record(folder)["warnings"] if text.startswith("unstable")]
    assert "at cloud/server (server-0 on cloud-0 cannot keep up" in warning
    assert float(warning.split()[2]) == pytest.approx(1.3, rel=0.12)
    ((detail,),) = rows(folder, "SELECT detail FROM events WHERE event = 'channel' AND replica = 'source-0'")
    ((processed,),) = rows(folder, "SELECT count(*) FROM messages")
    left = json.loads(detail)["frames"] - processed
    assert value(folder, "unprocessed") == left  # sent = processed + unprocessed
    assert (left > 500) is (capacity == "1000")  # the drain at the end takes 1.5 s at the most, and is enough for 20


def test_a_service_that_keeps_up_is_not(tmp_path: Path) -> None:
    folder = simulate(tmp_path, QUEUE, SERVER, overrides=["rate=90/s"])
    assert not [text for text in record(folder)["warnings"] if "unstable" in text]


def test_a_wait_without_bounds_ends_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estran.platforms.simulated.stability.MOST_WAITING", 200)
    folder = simulate(tmp_path, QUEUE, SERVER, overrides=["rate=130/s", "measure.duration=60s"])
    run = record(folder)
    assert run["status"] == "failed"
    assert run["failure"]["what"].startswith("unstable: utilisation 1.")
    assert "cloud/server" in run["failure"]["what"]
    assert "replicas" in run["failure"]["remedy"]
    assert 200 < rows(folder, "SELECT count(*) FROM messages")[0][0] < 10_000


CYCLE = """
experiment: cycle
layers: {edge: {hosts: 1, device: cloud-vm-2}}
services:
  ping: {on: edge, component: "parts:Echo", with: {first: true}, costs: {take: 0s, wake: 0s, send: 0s, receive: 0s}}
  pong: {on: edge, component: "parts:Echo", costs: {take: 0s, wake: 0s, send: 0s, receive: 0s}}
streams: [{from: ping.out, to: pong.into, delivery: latest}, {from: pong.out, to: ping.into, delivery: latest}]
measure: {duration: 5s}
"""
ECHO = {
    "parts": """
from dataclasses import dataclass
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output

@dataclass(frozen=True)
class EchoSettings:
    first: bool = False

class Echo(Component):
    settings: EchoSettings
    into: Input[int]
    out: Output[int]

    async def run(self) -> None:
        if self.settings.first:
            await self.out.send(0)
        async for message in self.into:
            await self.out.send(message.payload + 1)
"""
}


def test_a_cycle_that_takes_no_time_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estran.platforms.simulated.estimates.EXTRA", FREE)
    run = record(simulate(tmp_path, CYCLE, ECHO))
    assert run["status"] == "failed"
    assert "time stands still: ping-0 and pong-0 went on" in run["failure"]["what"]
    assert "delay" in run["failure"]["remedy"]


# -- endings


def test_the_run_ends_when_the_stop_condition_holds(tmp_path: Path) -> None:
    folder = simulate(tmp_path, TINY.replace("duration: 1.5s", 'duration: 500s, until: "samples >= 40"'), PARTS_MODULE)
    assert record(folder)["ended_by"] == "samples >= 40"
    assert record(folder)["duration"] < 2


def test_the_run_ends_when_all_sources_have(tmp_path: Path) -> None:
    text = TINY.replace("with: {rate: 40}", "with: {rate: 40, limit: 30}").replace("duration: 1.5s", "duration: 500s")
    folder = simulate(tmp_path, text, PARTS_MODULE)
    assert record(folder)["ended_by"] == "all sources ended"
    assert rows(folder, "SELECT count(*) FROM messages") == [(60,)]


def test_no_warm_up_measures_from_the_first_message_on(tmp_path: Path) -> None:
    folder = simulate(tmp_path, TINY.replace("warmup: 0.3s", "warmup: 0s"), PARTS_MODULE)
    assert record(folder)["status"] == "done"
    assert record(folder)["duration"] == 1.5
    ((first, least),) = rows(folder, "SELECT min(created), min(time) FROM messages, metrics WHERE metric = 'total'")
    assert first == 0.0
    assert least > 0
    assert value(folder, "latency") > 0.01


def test_a_component_that_raises_fails_the_run_and_says_where(tmp_path: Path) -> None:
    folder = simulate(tmp_path, TINY.replace("with: {rate: 40}", "with: {rate: 40, fail_after: 20}"), PARTS_MODULE)
    run = record(folder)
    assert run["status"] == "failed"
    failure = run["failure"]
    assert (failure["phase"], failure["host"].split("-")[0], failure["service"].split("-")[0]) == ("measure", "edge", "meter")
    assert "ValueError: the sensor is on fire" in failure["what"]
    assert any("parts.py" in line for line in failure["log_tail"])
    assert rows(folder, "SELECT count(*) > 0 FROM messages") == [(True,)]
    assert any("the sensor is on fire" in path.read_text() for path in (folder / "logs").glob("meter-*.log"))


def test_what_components_print_and_log_is_in_their_logs(learned: Path) -> None:
    text = (learned / "logs" / "log-0.log").read_text()
    assert "log    info: listening" in text
    assert "stdout 50 answers, the last by version" in text
    assert text.splitlines()[0].split()[0] == "-0.100" or float(text.split()[0]) >= 0


def test_standard_output_and_modules_are_what_they_were(tmp_path: Path) -> None:
    before, threads = sys.stdout, threading.active_count()
    folder = simulate(tmp_path, LEARNING, LEARN_PARTS, overrides=["measure.duration=0.2s"])
    assert record(folder)["status"] == "done"
    assert sys.stdout is before
    assert sys.modules["parts"].SEEN == []  # the run had a module of its own
    assert threading.active_count() == threads


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_was_measured(tmp_path: Path, number: signal.Signals) -> None:
    written(tmp_path, TINY.replace("duration: 1.5s", "duration: 100000s"), PARTS_MODULE)
    process = start("run", "experiment.yaml", "--on", "simulate", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure")
    time.sleep(0.2)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1, out
    assert only_record(tmp_path)["status"] == "interrupted"
    assert rows(run_folder(tmp_path), "SELECT count(*) > 100 FROM messages") == [(True,)]


def test_code_that_never_returns_is_interrupted_at_the_second_signal(tmp_path: Path) -> None:
    hanging = PARTS_MODULE["parts"].replace(
        "            sent += 1\n", "            sent += 1\n            while sent == 20: pass\n"
    )
    written(tmp_path, TINY, {"parts": hanging})
    process = start("run", "experiment.yaml", "--on", "simulate", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure")
    time.sleep(0.3)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert only_record(tmp_path)["status"] in ("interrupted", "failed")


# -- bad requests


@pytest.mark.parametrize(
    ("options", "told"), [(["--trace"], "--calibration and --trace"), (["--calibration", "x"], "no meaning on emulate")]
)
def test_options_of_the_simulator_are_refused_elsewhere(tmp_path: Path, options: list[str], told: str) -> None:
    written(tmp_path, TINY, PARTS_MODULE)
    refused = estran("run", "experiment.yaml", *options, cwd=tmp_path)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_a_command_without_a_model_is_refused(tmp_path: Path) -> None:
    text = TINY.replace("  total:", '  extra: {on: cloud, command: [sleep, "60"]}\n  total:')
    written(tmp_path, text, PARTS_MODULE)
    refused = estran("run", "experiment.yaml", "--on", "simulate", cwd=tmp_path)
    assert refused.returncode == 2
    assert "services.extra: a command cannot be simulated without a model" in refused.stderr
    assert "estran calibrate" in refused.stderr


def test_an_operation_of_unknown_cost_is_named(tmp_path: Path) -> None:
    failure = record(simulate(tmp_path, TINY, {"parts": PARTS}))["failure"]
    assert "what its operation 'add' costs is not known" in failure["what"]
    assert failure["service"] == "total-0"
    assert "costs: {add: 2ms}" in failure["remedy"]


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"schema": 99}', '{"operations": 3}', '{"runs": "x"}'],
    ids=["empty", "cut", "list", "later", "number", "text"],
)
def test_a_damaged_calibration_is_refused(tmp_path: Path, damage: str) -> None:
    (tmp_path / "calibration.json").write_text(damage)
    with pytest.raises(RequestError, match=r"calibration\.json: (is no calibration file|has schema)"):
        simulate(tmp_path, TINY, PARTS_MODULE, calibration=str(tmp_path / "calibration.json"))


def test_a_defect_while_figures_are_made_is_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("of nothing")

    monkeypatch.setattr(conductor, "measure_responses", broken)
    with pytest.raises(ZeroDivisionError):
        simulate(tmp_path, LEARNING, {"parts": NOTES})
    (folder,) = (tmp_path / "runs").glob("*/*/")
    found = record(folder)
    assert (found["status"], found["failure"]["phase"]) == ("failed", "collect")
    assert found["failure"]["what"] == "ZeroDivisionError: of nothing"
    assert "defect of Estran" in found["failure"]["remedy"]

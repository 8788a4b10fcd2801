"""Propagation and serving policies in whole runs: simulated, and two emulated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.errors import SpecErrors
from estran.run.prepare import read_experiment
from tests.run.simulated import record, rows, simulate, value, written

pytest.importorskip("sklearn")

COUPLED = """
experiment: coupled
seed: 3
layers: {edge: {hosts: 2, device: raspberry-pi-4}, fog: {hosts: 2, device: jetson-orin-nano}, cloud: {hosts: 1, device: cloud-vm-2}}
network:
  - {between: [edge, fog], delay: 5ms, rate: 50mbit}
  - {between: [edge, cloud], delay: 45ms, rate: 50mbit}
  - {between: [fog, cloud], delay: 40ms, rate: 20mbit}
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 40/s, drift: [{change: labels, at: 3s}]}}
  detector: {on: fog, component: predictor, with: DETECTOR}
  trainer: {on: cloud, component: trainer, with: {learner: {mlp: {hidden: [16]}}, publish: PUBLISH}}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples]}
  - {from: trainer.models, to: detector.models, delivery: latest}
MORE
measure: {warmup: 0.5s, duration: 5s}
"""
ASKING = "  - {from: detector.requests, to: trainer.requests}"


def coupled(publish: str = "{every: 0.25s}", detector: str = "{}", more: str = "") -> str:
    return COUPLED.replace("PUBLISH", publish).replace("DETECTOR", detector).replace("MORE\n", f"{more}\n" if more else "")


def done(folder: Path) -> Path:
    assert record(folder)["status"] == "done", record(folder)["failure"]
    return folder


def events(folder: Path, event: str) -> list[tuple[float, str, dict[str, Any]]]:
    found = rows(folder, "SELECT time, replica, detail FROM events WHERE event = ? ORDER BY time", event)
    return [(time, replica, json.loads(detail)) for time, replica, detail in found]


# -- propagation


def test_a_model_reaches_every_detector_within_two_traversals_and_20_ms(tmp_path: Path) -> None:
    folder = done(simulate(tmp_path, coupled()))
    published = {detail["version"]: time for time, _, detail in events(folder, "published")}
    took: dict[str, list[float]] = {}
    for time, replica, detail in events(folder, "swapped"):
        took.setdefault(replica, []).append(time - published[detail["version"]])
    assert set(took) == {"detector-0", "detector-1"}
    assert all(len(found) >= 20 for found in took.values())
    assert max(max(found) for found in took.values()) <= 2 * 0.040 + 0.020


@pytest.mark.parametrize(
    ("publish", "why"),
    [
        ("{drift: {detector: {page-hinkley: {threshold: 8}}, after: 20}}", {"first", "drift"}),
        ("{gain: {margin: 5%, holdout: 20%, recent: 40, check: 20}}", {"first", "gain"}),
        ("{pull: true}", {"asked"}),
        ("{updates: 40, send: delta}", {"first", "updates"}),
    ],
)
def test_each_way_to_publish_runs_and_says_why(publish: str, why: set[str], tmp_path: Path) -> None:
    asks = "pull" in publish
    folder = done(simulate(tmp_path, coupled(publish, "{pull: 0.5s}" if asks else "{}", ASKING if asks else "")))
    assert {detail["why"] for _, _, detail in events(folder, "published")} == why
    assert value(folder, "staleness") > 0
    assert rows(folder, "SELECT count(*) FROM messages WHERE answer IS NOT NULL AND version IS NULL")[0][0] == 0


def test_forms_are_a_factor_and_their_bytes_differ(tmp_path: Path) -> None:
    sent = {}
    for form in ("full", "delta", "float16", "int8"):
        text = coupled('{every: 0.25s, send: "${form}"}') + "factors: {form: [full, delta, float16, int8]}\n"
        folder = done(simulate(tmp_path, text, overrides=[f"form={form}"]))
        sent[form] = np.array([size for (size,) in rows(folder, "SELECT bytes FROM messages WHERE stream LIKE 'trainer.models%'")])
        assert value(folder, "message_bytes@cloud-0") > 0
    medians = {form: float(np.median(sizes)) for form, sizes in sent.items()}
    full = 4 * (64 * 16 + 16 + 16 * 10 + 10)
    assert medians["full"] == pytest.approx(full, rel=0.15)
    assert medians["float16"] < 0.65 * medians["full"]
    assert medians["int8"] < 0.4 * medians["full"]
    assert medians["delta"] < 0.97 * medians["full"]


def test_changes_survive_a_stream_that_drops_models(tmp_path: Path) -> None:
    """A link so slow that every other model is passed over: with and without asking, the newest serves in the end."""
    for more in ("", ASKING):
        text = coupled("{updates: 2, send: {delta: true, keyframe: 5}}", more=more).replace("rate: 20mbit", "rate: 300kbit")
        folder = done(simulate(tmp_path, text))
        published, swapped = events(folder, "published"), events(folder, "swapped")
        assert len(swapped) < 0.6 * 2 * len(published)
        for replica in ("detector-0", "detector-1"):
            times = [time for time, who, _ in swapped if who == replica]
            assert len(times) >= 5
            assert times[-1] > 4.0
        assert rows(folder, "SELECT count(*) FROM events WHERE event = 'refused'") == [(0,)]


# -- serving


@pytest.mark.parametrize(
    "serving",
    [
        "{kind: champion, samples: 20}",
        "{kind: shadow, samples: 20}",
        "{kind: ensemble, versions: 3}",
        "{kind: ensemble, by: exp3, versions: 2}",
    ],
)
def test_each_serving_policy_runs_and_answers_everything(serving: str, tmp_path: Path) -> None:
    steady = coupled(detector=f"{{serving: {serving}}}").replace(", drift: [{change: labels, at: 3s}]", "")
    folder = done(simulate(tmp_path, steady))
    assert value(folder, "accuracy") > 0.3
    # Both detectors take turns at what two cameras sent at 40/s each.
    assert value(folder, "throughput") == pytest.approx(80, rel=0.05)


def test_the_trainer_may_serve_in_place(tmp_path: Path) -> None:
    text = coupled().replace("MORE", "")
    text = text.replace("measure:", "  - {from: trainer.predictions, to: log.messages}\nmeasure:").replace(
        "services:", "services:\n  log: {on: cloud, component: sink}"
    )
    folder = done(simulate(tmp_path, text))
    assert rows(folder, "SELECT count(*) FROM messages WHERE receiver = 'trainer-0' AND answer IS NOT NULL")[0][0] > 300


def test_an_overloaded_predictor_sheds_what_is_late_and_answers_the_rest_in_time(tmp_path: Path) -> None:
    slow = "detector: {on: fog, costs: {predict: 40ms}, component: predictor, with: {batch: {max_size: 1}SHED}}"
    figures = {}
    for shed in ("", ", shed: {deadline: 200ms, foresee: true}"):
        text = coupled().replace("detector: {on: fog, component: predictor, with: {}}", slow.replace("SHED", shed))
        figures[shed] = done(simulate(tmp_path, text))
    free, bound = figures.values()
    assert value(free, "latency_p95") > 0.4
    assert value(bound, "latency_p95") < 0.21
    assert 0.1 < value(bound, "shed@detector") < 0.9
    answered, all_of_them = rows(
        bound, "SELECT count(answer), count(*) FROM messages WHERE receiver LIKE 'detector%' AND stream LIKE 'camera%'"
    )[0]
    assert answered < all_of_them


CASCADE = """
experiment: cascade
seed: 3
layers: {edge: {hosts: 2, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 40ms, rate: 50mbit}]
services:
  meter: {on: edge, component: source, with: {data: digits, rate: 40/s, label_delay: 500ms}}
  small: {on: edge, component: predictor, with: {threshold: "${threshold}"}}
  large: {on: cloud, component: predictor}
  learns-small: {on: cloud, component: trainer, with: {learner: softmax}}
  learns-large: {on: cloud, component: trainer, with: {learner: {mlp: {hidden: [64]}}}}
streams:
  - {from: meter.samples, to: small.samples}
  - {from: small.deferred, to: large.samples}
  - {from: meter.labelled, to: [learns-small.samples, learns-large.samples]}
  - {from: learns-small.models, to: small.models, delivery: latest}
  - {from: learns-large.models, to: large.models, delivery: latest}
factors: {threshold: [90%, 50%]}
measure: {warmup: 2s, duration: 8s}
"""


def test_a_cascade_answers_at_the_edge_what_it_is_sure_of(tmp_path: Path) -> None:
    wary = done(simulate(tmp_path, CASCADE))
    bold = done(simulate(tmp_path, CASCADE, overrides=["threshold=50%"]))
    assert value(bold, "deferred@small") + 0.1 < value(wary, "deferred@small") < 1
    # The way of what was sent on begins at the meter, so both links are in it.
    assert value(wary, "latency@large") > 0.040 > value(wary, "latency_p50@small")
    assert value(wary, "accuracy@small") > value(bold, "accuracy@small")
    for folder in (wary, bold):
        sent, answered = rows(
            folder, "SELECT count(DISTINCT trace), count(answer) FROM messages WHERE stream IN ('meter.samples', 'small.deferred')"
        )[0]
        assert sent - answered < 20  # under way at the end


def test_labels_that_come_late_are_learned_late(tmp_path: Path) -> None:
    folder = done(simulate(tmp_path, CASCADE))
    (least,) = rows(folder, "SELECT min(started - created) FROM messages WHERE receiver LIKE 'learns%' AND stream LIKE 'meter%'")[0]
    assert least >= 0.54


def test_the_example_smart_grid_learns_from_late_labels_and_defers_what_is_hard(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    shutil.copytree(Path(__file__).parents[2] / "examples" / "smart-grid", folder)
    text = (folder / "experiment.yaml").read_text()
    assert len(text.partition("\nclaims:")[0].splitlines()) <= 60
    found = {
        send: done(simulate(folder, text, overrides=["measure.duration=12s", "serving=ensemble", f"send={send}"]))
        for send in ("full", "int8")
    }
    full, rounded = found["full"], found["int8"]
    assert value(full, "accuracy") > value(full, "accuracy_no_change") + 0.05
    assert value(full, "accuracy@small") > value(full, "accuracy@large") + 0.1
    assert 0.05 < value(full, "deferred@small") < 0.9
    # A source's labels are 1.2 s behind, whoever takes them.
    (least,) = rows(full, "SELECT min(received - created) FROM messages WHERE stream = 'meter.labelled'")[0]
    assert least >= 1.2
    assert value(rounded, "accuracy") == pytest.approx(value(full, "accuracy"), abs=0.03)
    assert value(rounded, "message_bytes@cloud-0") < 0.5 * value(full, "message_bytes@cloud-0")


# -- checked beforehand


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (coupled("{pull: true}"), "trainer: its port 'requests' is not connected"),
        (coupled(detector="{pull: 1s}"), "detector: its port 'requests' is not connected"),
        (coupled(detector="{threshold: 80%}"), "detector: its port 'deferred' is not connected"),
        (coupled("{}"), "neither every nor updates"),
        (coupled("{drift: adwinn}"), "did you mean adwin"),
        (coupled(detector="{serving: {kind: shadow, sampels: 3}}"), "sampels"),
        (coupled(detector="{serving: {kind: ensemble, by: ucb1}}"), "hedge or exp3"),
        (coupled(detector="{shed: {foresee: true}}"), "neither a deadline nor a queue"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SpecErrors) as raised:
        read_experiment(str(written(tmp_path, text)))
    assert any(complaint in str(error) for error in raised.value.errors), raised.value.errors

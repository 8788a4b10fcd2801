from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.components.index import Components
from estran.errors import SpecErrors, Where
from estran.spec import dump, load_text, plan
from estran.spec.faults import Condition, Injection

BASE = """\
experiment: broken
seed: 7
layers:
  edge:  {hosts: 2, device: raspberry-pi-4}
  fog:   {hosts: 1, device: jetson-orin-nano}
  cloud: {hosts: 1, device: cloud-vm-8}
network:
  - {between: [edge, fog], delay: 5ms}
  - {between: [fog, cloud], delay: 40ms}
services:
  camera:   {on: edge, component: source}
  detector: {on: fog, component: predictor}
  trainer:  {on: cloud, component: trainer}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples]}
factors:
  outage: [3s, none, 0s]
measure: {warmup: 2s, duration: 20s}
faults:
"""
EVERY = """\
  wan-cut:  {cut: [fog, cloud], at: [5s, 12s], for: "${outage}"}
  up-only:  {cut: [edge, fog], one-way: true, at: 1s, for: 1s}
  lag:      {degrade: [edge, fog], delay: 200ms, loss: 5%, at: 5s, for: 3s}
  wobble:   {flap: [edge, fog], at: 9s, for: 4s}
  split:    {partition: [[edge, fog], cloud], at: 9s, for: 2s}
  dies:     {crash: fog-0, at: 8s, for: 3s}
  boots:    {reboot: cloud, at: 15s, for: 2s}
  slow:     {slow: fog, speed: 0.5, when: accuracy >= 0.8, for: 3s}
  skew:     {clock-skew: "edge-*", offset: 50ms, at: 1s}
  full:     {disk-full: cloud, at: 1s}
  squeeze:  {memory-pressure: fog, memory: 1GiB, at: 1s}
  killed:   {kill: camera-1, at: 5s}
  hung:     {hang: [camera, detector], at: 2s, for: 2s}
  damage:   {corrupt: camera.samples, share: 10%, at: 2s, for: 2s}
  rush:     {burst: camera, factor: 3, random: {times: 3, within: [2s, 18s]}, for: 2s}
  moved:    {drift: camera, amount: 0.5, change: swap, at: 10s}
"""


def planned(faults: str = EVERY, **assignment: str):
    return plan(load_text(BASE + faults, source="f.yaml", assignment=assignment))


def of(name: str, injections: tuple[Injection, ...]) -> list[Injection]:
    return [one for one in injections if one.fault == name]


def test_every_kind_is_read_and_resolved() -> None:
    found = planned().injections
    both = (("fog-0", "cloud-0"), ("cloud-0", "fog-0"))
    assert of("wan-cut", found) == [
        Injection("wan-cut/0", "wan-cut", "cut", 5.0, 3.0, links=both),
        Injection("wan-cut/1", "wan-cut", "cut", 12.0, 3.0, links=both),
    ]
    assert of("up-only", found)[0].links == (("edge-0", "fog-0"), ("edge-1", "fog-0"))
    assert of("lag", found)[0].settings == {"delay": 0.2, "loss": 0.05}
    assert of("wobble", found)[0].settings == {"period": 1.0, "share": 0.5}
    assert set(of("split", found)[0].links) == {
        (a, b) for x in ("edge-0", "edge-1", "fog-0") for a, b in ((x, "cloud-0"), ("cloud-0", x))
    }
    assert (of("dies", found)[0].hosts, of("dies", found)[0].replicas) == (("fog-0",), ("detector-0",))
    assert of("slow", found)[0].when == Condition("accuracy", ">=", 0.8)
    assert of("slow", found)[0].at is None
    assert of("skew", found)[0].hosts == ("edge-0", "edge-1")
    assert of("killed", found)[0].replicas == ("camera-1",)
    assert of("hung", found)[0].replicas == ("camera-0", "camera-1", "detector-0")
    assert of("damage", found)[0].outputs == ("camera-0.samples", "camera-1.samples")
    assert of("moved", found)[0].settings == {"amount": 0.5, "change": "swap"}
    assert len(of("rush", found)) == 3
    assert [one.at for one in found if one.at is not None] == sorted(one.at for one in found if one.at is not None)


@pytest.mark.parametrize("level", ["none", "0s"])
def test_a_fault_of_no_time_does_not_happen(level: str) -> None:
    assert of("wan-cut", planned(outage=level).injections) == []


def test_the_resolved_document_loads_to_an_equal_experiment() -> None:
    for outage in ("3s", "none"):
        experiment = load_text(BASE + EVERY, assignment={"outage": outage})
        again = load_text(dump(experiment.document))
        assert again == experiment
        assert plan(again).injections == plan(experiment).injections


WRONG = [
    ("«x: {at: 5s}", "does not say what breaks", "add one of cut"),
    ("«x: {cut: [fog, cloud]}", "does not say when", "add at: 5s"),
    ("x: {cut: [fog, cloud], «crash: fog, at: 1s}", "two faults", None),
    ("x: {cut: [fog, «clod], at: 1s}", "'clod' matches no layer or host", "did you mean 'cloud'?"),
    ("x: {cut: [edge, cloud-0], «one-wai: true, at: 1s}", "unknown key 'one-wai'", "did you mean 'one-way'?"),
    ("x: {cut: «[edge-0, edge-1], at: 1s}", "there is no link between edge-0 and edge-1", "name two layers"),
    ("x: {cut: «[fog], at: 1s}", "at least 2 entries", None),
    ("x: {partition: «[[edge, fog], fog-0], at: 1s}", "fog-0 is on both sides", None),
    ("x: {kill: «detektor, at: 1s}", "there is no service 'detektor'", "did you mean 'detector'?"),
    ("x: {kill: «camera-2, at: 1s}", "there is no service 'camera-2'", "did you mean 'camera'?"),
    ("«x: {slow: fog, at: 1s}", "'speed' is missing", "add speed:"),
    ("x: {slow: fog, speed: 0.5, «delay: 2s, at: 1s}", "has no meaning for slow", "it belongs to degrade"),
    ("x: {slow: fog, speed: «0, at: 1s}", "must be more than zero", None),
    ("«x: {degrade: [fog, cloud], at: 1s}", "does not say how", "add delay:"),
    ("x: {corrupt: «camera.sample, share: 5%, at: 1s}", "no stream carries 'camera.sample'", "did you mean 'camera.samples'?"),
    ("x: {crash: fog, at: «soon}", "'soon' is not a duration", None),
    ("x: {crash: fog, when: «accuracy is good}", "is not a condition", "accuracy >= 0.9"),
    ("x: {crash: fog, when: «accuracy > 50}", "accuracy is a share, and 50 is more than all", "accuracy > 50% or accuracy > 0.5"),
    ("x: {crash: fog, when: «accuracy < 1.5}", "accuracy is a share, and 1.5 is more than all", "accuracy < 90% or accuracy < 0.9"),
    ("x: {crash: fog, when: «accuracy < 101%}", "accuracy is a share, and 101% is more than all", "accuracy < 90%"),
    ("x: {crash: fog, when: «latency > 5mbit}", "latency is not compared with 5mbit", "10ms"),
    ("x: {crash: fog, at: 1s, «when: accuracy > 0.9}", "has at and when", None),
    ("x: {crash: fog, at: 1s, «for: }", "is empty", "0s or none"),
    ("«x: {reboot: fog, at: 1s}", "a reboot needs a time", "add for: 20s"),
    ("«x: {crash: fog, at: [1s, 2s]}", "cannot happen again", "add for:"),
    ("x: {crash: fog, at: «[1s, 2s], for: 2s}", "happens again at 2s, before it is over", None),
    ("x: {crash: fog, random: {times: 3, within: «[5s, 2s]}, for: 1s}", "ends before it begins", None),
    ("x: {crash: fog, random: «{times: 30}, for: 1s}", "find no room", "make it shorter"),
    ("x: {burst: camera, «one-way: true, factor: 2, at: 1s}", "has no meaning for burst", None),
    ("x: {drift: camera, change: swap, amount: «3, at: 1s}", "no more than all labels", None),
]  # fmt: skip


@pytest.mark.parametrize(("line", "what", "remedy"), WRONG)
def test_what_is_wrong_is_told_where_it_stands(line: str, what: str, remedy: str | None) -> None:
    with pytest.raises(SpecErrors) as caught:
        load_text(BASE.replace("  outage: [3s, none, 0s]\n", "").replace("factors:\n", "") + "  " + line.replace("«", ""))
    error = next(error for error in caught.value.errors if what in error.what)
    assert isinstance(error.where, Where)
    assert error.where.line == 18
    assert error.where.column == line.index("«") + 3
    assert remedy is None or remedy in (error.remedy or "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("accuracy > 50%", 0.5),
        ("accuracy > 0.5", 0.5),
        ("latency_p99 >= 120ms", 0.12),
        ("memory > 1GiB", 2.0**30),
        ("latency > 2", 2),
    ],
)
def test_a_condition_is_about_a_quantity(text: str, value: float) -> None:
    line = f"  x: {{crash: fog, when: {text}}}"
    experiment = load_text(BASE.replace("  outage: [3s, none, 0s]\n", "").replace("factors:\n", "") + line)
    assert experiment.faults[0].when == Condition(text.split()[0], text.split()[1], value)


ELSEWHERE = [
    ("from: camera.samples", "frm: camera.samples", "'frm'", "{corrupt: camera.samples, share: 5%, at: 1s}"),
    ("from: camera.samples", "from: camera.sampels", "'sampels'", "{corrupt: camera.samples, share: 5%, at: 1s}"),
    ("streams:", "stream:", "unknown key", "{corrupt: camera.samples, share: 5%, at: 1s}"),
    ("on: fog", "onn: fog", "'onn'", "{kill: detector-0, at: 1s}"),
    ("on: fog", "on: fgo", "'fgo'", "{kill: detector-0, at: 1s}"),
    ("jetson-orin-nano", "jetson-orin-nana", "'jetson-orin-nana'", "{hang: detector-0, at: 1s}"),
    ("on: edge, component", "on: edge, componet", "'componet'", "{burst: camera-1, factor: 2, at: 1s}"),
    ("between: [fog, cloud]", "betwen: [fog, cloud]", "'betwen'", "{cut: [fog, cloud], at: 1s}"),
    ("delay: 40ms", "delay: 40", "40 has no unit", "{cut: [fog, cloud], at: 1s}"),
    ("between: [fog, cloud]", "between: [fogg, cloud]", "'fogg'", "{cut: [fog, cloud], at: 1s}"),
    ("delay: 40ms", "link: wifii-5", "'wifii-5'", "{cut: [fog, cloud], at: 1s}"),
    ("[detector.samples, trainer.samples]", "trainr.samples", "'trainr'", "{cut: [edge, cloud], at: 1s}"),
    ("on: cloud", "on: clouds", "'clouds'", "{cut: [edge, cloud], at: 1s}"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "told", "fault"), ELSEWHERE)
def test_a_mistake_elsewhere_does_not_cast_doubt_on_a_right_target(old: str, new: str, told: str, fault: str) -> None:
    rest = BASE.replace("  outage: [3s, none, 0s]\n", "").replace("factors:\n", "")
    load_text(rest + f"  x: {fault}\n", components=Components())
    assert old in rest
    with pytest.raises(SpecErrors) as caught:
        load_text(rest.replace(old, new) + f"  x: {fault}\n", components=Components())
    assert [told in error.what for error in caught.value.errors] == [True], [error.what for error in caught.value.errors]


OVERLAPS = [
    ("{cut: [fog, cloud], at: 3s, for: 5s}", "{degrade: [cloud, fog], delay: 1s, at: 7s, for: 1s}", True),
    ("{cut: [fog, cloud], at: 3s, for: 5s}", "{degrade: [cloud, fog], delay: 1s, at: 8s, for: 1s}", False),
    ("{cut: [fog, cloud], one-way: true, at: 3s}", "{cut: [cloud, fog], one-way: true, at: 3s}", False),
    ("{cut: [fog, cloud], at: 3s, for: 5s}", "{flap: [edge, fog], at: 3s, for: 5s}", False),
    ("{crash: fog, at: 3s}", "{kill: detector, at: 9s}", True),
    ("{crash: fog, at: 3s, for: 5s}", "{hang: camera, at: 4s}", False),
    ("{crash: fog, at: 3s, for: 5s}", "{slow: fog, speed: 0.5, at: 4s}", False),
    ("{slow: fog-0, speed: 0.2, at: 3s, for: 5s}", "{slow: '*', speed: 0.5, at: 4s}", True),
    ("{burst: camera, factor: 2, at: 3s, for: 5s}", "{burst: camera-1, factor: 3, at: 4s}", True),
    ("{burst: camera, factor: 2, at: 3s, for: 0s}", "{burst: camera-1, factor: 3, at: 4s}", False),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "overlaps"), OVERLAPS)
def test_what_befalls_the_same_at_once_is_refused(one: str, other: str, overlaps: bool) -> None:
    text = BASE.replace("  outage: [3s, none, 0s]\n", "").replace("factors:\n", "") + f"  one: {one}\n  other: {other}\n"
    if not overlaps:
        injections = plan(load_text(text)).injections
        assert len(injections) == (1 if "0s" in one else 2)
        return
    with pytest.raises(SpecErrors, match="has not given back"):
        load_text(text)


def test_moments_after_the_end_are_warned_of() -> None:
    found = planned("  x: {crash: fog, at: 30s, for: '${outage}'}\n")
    assert any("after the end of the measurement" in warning for warning in found.warnings)


@given(seed=st.integers(0, 2**32), times=st.integers(1, 8), lasting=st.floats(0.01, 1.5), more=st.booleans())
def test_random_moments_never_overlap_and_no_fault_moves_those_of_another(
    seed: int, times: int, lasting: float, more: bool
) -> None:
    one = f"  a: {{cut: [fog, cloud], random: {{times: {times}, within: [2s, 18s]}}, for: {lasting:.3f}s}}\n"
    other = "  b: {crash: edge, random: {times: 2}, for: 1s}\n"
    text = (BASE + "  c: {kill: camera, at: 1s, for: '${outage}'}\n").replace("seed: 7", f"seed: {seed}")
    alone, both = (of("a", plan(load_text(text + lines)).injections) for lines in (one, other + one if more else one + other))
    assert alone == both
    moments = [injection.at for injection in alone]
    assert len(moments) == times
    assert all(at >= 2 and at + lasting <= 18.002 for at in moments)
    assert all(later - earlier >= round(lasting, 3) - 2e-6 for earlier, later in pairwise(moments))

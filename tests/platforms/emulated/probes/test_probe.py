"""The probe: what it sends, what it concludes, and whether it finds on real links what is there and what is not."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.platforms.emulated.links.relay_core import Line
from estran.platforms.emulated.links.relay_loopback import LoopbackEngine
from estran.platforms.emulated.links.relay_nfqueue import NfqueueEngine
from estran.platforms.emulated.links.relay_tun import TunEngine
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.loopback_fabric import LoopbackFabric
from estran.platforms.emulated.probes.plan import itinerary, patience, segments, wire
from estran.platforms.emulated.probes.probe import distinct, probe
from estran.platforms.emulated.probes.verdict import Samples, judge, plausible, spread, train_rate, truncated_spread
from estran.spec.model import LinkSpec

LINKS = st.builds(
    LinkSpec,
    delay=st.floats(0, 0.3),
    jitter=st.just(0.0),
    rate=st.one_of(st.none(), st.floats(1e5, 1e9)),
    loss=st.sampled_from([0.0, 0.001, 0.02, 0.2]),
)


def simulate(asked: LinkSpec, real: LinkSpec, seed: int = 0, budget: float = 1.2) -> Samples:
    """What a perfect probe of ``asked`` would see on a line that does ``real``."""
    line, samples = Line(real, np.random.default_rng(seed)), Samples()
    for shot in itinerary(asked, budget):
        samples.sent[shot.phase] = samples.sent.get(shot.phase, 0) + 1
        came = line.depart(shot.at, wire(shot.size))
        if shot.phase == "rate":
            samples.departures.append((shot.at, wire(shot.size)))
        if came is None:
            continue
        samples.received[shot.phase] = samples.received.get(shot.phase, 0) + 1
        if shot.phase == "delay":
            samples.delays.append(came - shot.at)
        elif shot.phase == "rate":
            samples.arrivals.append((came, wire(shot.size)))
    return samples


@settings(max_examples=60, deadline=None)
@given(LINKS)
def test_a_right_link_is_found_right(link: LinkSpec) -> None:
    verdicts = [judge("a", "b", link, simulate(link, link, seed)) for seed in (1, 2, 3)]
    # By chance one in some hundreds may seem wrong, which is why the probe looks twice.
    assert sum(not verdict.ok for verdict in verdicts) <= 1, [verdict.complaint for verdict in verdicts]


@settings(max_examples=40, deadline=None)
@given(LINKS)
def test_the_train_fits_the_queue_of_a_right_link(link: LinkSpec) -> None:
    link = LinkSpec(link.delay, 0.0, link.rate, 0.0)
    line = Line(link, np.random.default_rng(0))
    for shot in itinerary(link, 1.2):
        line.depart(shot.at, wire(shot.size))
    assert line.overflowed == 0


@pytest.mark.parametrize(
    ("asked", "real", "complaint"),
    [
        (LinkSpec(0.05), LinkSpec(0.00007), "delay: asked 50ms, measured 70µs: 99.9 % off"),
        (LinkSpec(0.005), LinkSpec(0.0062), "delay: asked 5ms"),
        (LinkSpec(rate=10e6), LinkSpec(rate=9e6), "rate: asked 10mbit, measured 9mbit: 10 % off"),
        (LinkSpec(rate=10e6), LinkSpec(), "rate: asked 10mbit, measured at least"),
        (LinkSpec(loss=0.02), LinkSpec(), "loss: asked 2%, measured 0 of"),
        (LinkSpec(loss=0.02), LinkSpec(loss=0.08), "loss: asked 2%"),
        (LinkSpec(), LinkSpec(loss=0.1), "loss: asked 0%"),
        (LinkSpec(0.05, 0.005), LinkSpec(0.05), "jitter: asked 5ms, measured 0s: 100 % off"),
        (LinkSpec(0.05), LinkSpec(loss=1.0), "asked 50ms, but no packet came through"),
    ],
)
def test_a_wrong_link_is_found_wrong_and_named(asked: LinkSpec, real: LinkSpec, complaint: str) -> None:
    verdict = judge("a", "b", asked, simulate(asked, real))
    assert not verdict.ok
    assert verdict.complaint is not None
    assert verdict.complaint.startswith(complaint)
    assert verdict.asked["delay"] == asked.delay


def test_what_was_not_asked_is_not_reported_as_asked() -> None:
    verdict = judge("a", "b", LinkSpec(0.01), simulate(LinkSpec(0.01), LinkSpec(0.01)))
    assert verdict.asked == {"delay": 0.01, "jitter": None, "rate": None, "loss": None}
    assert verdict.measured["rate"] is None
    assert verdict.measured["loss"] == 0


def test_loss_is_judged_by_chance_alone() -> None:
    assert plausible(0, 1000, 0.001)
    assert plausible(4, 1000, 0.001)
    assert not plausible(9, 1000, 0.001)
    assert not plausible(0, 1000, 0.05)
    assert plausible(50, 1000, 0.05)
    assert plausible(10, 10, 1.0)
    assert not plausible(9, 10, 1.0)
    assert plausible(1, 10, 0.0)
    assert not plausible(5, 100, 0.0)


def test_figures_are_robust_against_a_hiccup() -> None:
    rng = np.random.default_rng(0)
    delays = 0.02 + 0.001 * rng.standard_normal(200)
    assert spread(np.concatenate([delays, [0.2, 0.3]])) == pytest.approx(np.std(delays), rel=0.05)
    assert spread(np.full(50, 0.01)) == pytest.approx(0, abs=1e-9)
    train = [(1 + index * 1538 * 8 / 5e6, 1538) for index in range(100)]
    assert train_rate(train, 0.0) == pytest.approx(5e6)
    assert train_rate(train[:3], 0.0) is None


def test_the_truncated_spread_is_that_of_a_normal_cut_at_zero() -> None:
    assert truncated_spread(LinkSpec(0.05, 0.002)) == pytest.approx(0.002)
    sample = np.maximum(0, np.random.default_rng(0).normal(0.002, 0.002, 400_000))
    assert truncated_spread(LinkSpec(0.002, 0.002)) == pytest.approx(sample.std(), rel=0.01)


@given(LINKS)
def test_a_probe_fits_its_budget(link: LinkSpec) -> None:
    shots = itinerary(link, 1.2)
    assert [shot.at for shot in shots] == sorted(shot.at for shot in shots)
    if link.rate is None or link.rate >= 1e6:
        assert shots[-1].at <= 1.2
    assert patience(link) >= link.delay
    assert 1 <= segments(link) <= 40


def test_one_link_of_each_kind_is_chosen() -> None:
    near, far = LinkSpec(0.005, rate=100e6), LinkSpec(0.04)
    links = {("e0", "f"): near, ("e1", "f"): near, ("f", "e0"): near, ("e2", "f"): far, ("f", "c"): far}
    kinds = {"e0": "edge", "e1": "edge", "e2": "edge", "f": "fog", "c": "cloud"}
    assert set(distinct(links, kinds)) == {("e0", "f"), ("f", "e0"), ("e2", "f"), ("f", "c")}


def example(loss: float) -> tuple[list[str], dict[tuple[str, str], LinkSpec]]:
    hosts, links = ["edge-0", "edge-1", "fog-0", "cloud-0"], {}
    for edge in hosts[:2]:
        links[edge, "fog-0"] = links["fog-0", edge] = LinkSpec(0.005, 0, 20e6, loss)
    links["fog-0", "cloud-0"] = links["cloud-0", "fog-0"] = LinkSpec(0.04, 0.002, 10e6)
    return hosts, links


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
@pytest.mark.parametrize("engine", [NfqueueEngine, TunEngine], ids=["nfqueue", "tun"])
def test_real_links_are_measured(engine: type[NfqueueEngine] | type[TunEngine]) -> None:
    if not engine().trial().works:
        pytest.skip(engine().trial().why)
    hosts, links = example(0.001)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with Fabric(hosts, links) as fabric, engine(2).start(fabric):
        measures = probe(fabric, links, {name: name.partition("-")[0] for name in hosts})
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert [(m.source, m.target) for m in measures] == [
        ("edge-0", "fog-0"), ("fog-0", "edge-0"), ("fog-0", "cloud-0"), ("cloud-0", "fog-0"),
    ]  # fmt: skip
    for measure in measures:
        asked = links[measure.source, measure.target]
        assert measure.measured["delay"] == pytest.approx(asked.delay, abs=0.002)
        assert measure.measured["loss"] == pytest.approx(asked.loss, abs=0.03)
        if asked.jitter:
            assert measure.measured["jitter"] == pytest.approx(asked.jitter, rel=0.5)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
def test_links_that_nothing_shapes_are_found_out() -> None:
    hosts, links = example(0.0)
    with Fabric(hosts, links) as fabric:
        measures = probe(fabric, links, budget_s=0.6)
    assert len(measures) == len(links)
    assert not any(measure.ok for measure in measures)
    assert measures[0].complaint is not None
    assert measures[0].complaint.startswith("delay: asked 5ms, measured ")
    assert "rate: asked 20mbit, measured at least" in measures[0].complaint


def test_loopback_links_are_measured_but_not_their_loss() -> None:
    hosts, links = example(0.0)
    with LoopbackFabric(hosts, links) as fabric, LoopbackEngine().start(fabric):
        measures = probe(fabric, {("edge-0", "fog-0"): links["edge-0", "fog-0"]}, budget_s=0.8)  # type: ignore[arg-type]
    assert measures[0].measured["delay"] == pytest.approx(0.005, abs=0.002)
    assert measures[0].measured["loss"] is None
    assert math.isfinite(measures[0].measured["rate"] or math.nan)

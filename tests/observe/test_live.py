from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.observe.live import ACCURACY_LEAST, ACCURACY_WINDOW, LATENCY_WINDOW, UNTIL_NAMES, LiveResponses
from estran.observe.rows import MetricRow
from estran.spec.model import Until

from .folders import hop


def test_nothing_is_known_before_there_is_enough() -> None:
    live = LiveResponses()
    assert live.figures() == {}
    live.update("messages", [hop(i, float(i), truth=0, answer=0) for i in range(ACCURACY_LEAST - 1)])
    assert live.get("accuracy") is None
    assert live.get("latency_p99") is None
    assert not live.met(Until("accuracy", ">=", 0.0))
    live.update("messages", [hop(99, 99.0, truth=0, answer=1)])
    assert live.get("accuracy") == pytest.approx(0.99)


def test_accuracy_forgets_what_left_its_window() -> None:
    live = LiveResponses()
    live.update("messages", [hop(i, float(i), truth=0, answer=1) for i in range(2000)])
    assert live.get("accuracy") == 0.0
    live.update("messages", [hop(i, float(i), truth=0, answer=0) for i in range(2000, 2000 + ACCURACY_WINDOW)])
    assert live.get("accuracy") == 1.0
    assert live.met(Until("accuracy", ">=", 0.9))


@given(st.lists(st.floats(0.001, 2.0), min_size=200, max_size=400))
def test_quantiles_are_those_of_the_window(seconds: list[float]) -> None:
    assert len(seconds) <= LATENCY_WINDOW
    live = LiveResponses()
    for i, latency in enumerate(seconds):
        live.update("messages", [hop(i, float(i), done=i + latency, answer=0)])
    for percent in (50, 95, 99):
        assert live.get(f"latency_p{percent}") == pytest.approx(np.quantile(seconds, percent / 100), abs=1e-9)
    assert live.get("latency") == pytest.approx(np.mean(seconds), abs=1e-9)


def test_a_count_that_is_passed_between_two_looks_has_been_reached() -> None:
    live = LiveResponses()
    live.update("messages", [hop(i, float(i), answer=0) for i in range(99)])
    assert not live.met(Until("samples", "==", 100))
    live.update("messages", [hop(i, float(i), answer=0) for i in range(99, 140)])
    assert live.get("samples") == 140
    assert live.met(Until("samples", "==", 100))


def test_without_answers_samples_are_what_the_busiest_consumer_processed() -> None:
    live = LiveResponses()
    live.update("messages", [hop(i, float(i)) for i in range(30)] + [hop(i, float(i), receiver="trainer-0") for i in range(10)])
    live.update("messages", [hop(i, float(i), version=i) for i in range(50)])  # models
    assert live.get("samples") == 30


def test_warm_up_does_not_count() -> None:
    live = LiveResponses(since=5.0)
    live.update("messages", [hop(i, float(i), answer=0) for i in range(10)])
    live.update("metrics", [MetricRow(t, "edge-0", "", "energy", 10 * t) for t in (0.0, 5.0, 8.0)])
    assert live.get("samples") == 5
    assert live.get("energy") == 30.0


def test_throughput_of_the_last_seconds() -> None:
    live = LiveResponses()
    live.update("messages", [hop(i, i * 0.01, done=i * 0.01, answer=0) for i in range(1000)])
    assert live.get("throughput") == pytest.approx(100, rel=0.01)
    fast = LiveResponses()
    fast.update("messages", [hop(i, i * 1e-4, done=i * 1e-4, answer=0) for i in range(60_000)])
    assert fast.get("throughput") == pytest.approx(10_000, rel=0.01)


def test_recorded_metrics_by_name_and_by_service() -> None:
    live = LiveResponses()
    live.update("metrics", [MetricRow(1.0, "h", "trainer-0", "loss", 9.0), MetricRow(2.0, "h", "trainer-0", "loss", 1.0)])
    live.update("metrics", [MetricRow(2.0, "h", "probe-0", "loss", 3.0), MetricRow(3.0, "h", "probe-0", "loss", math.nan)])
    assert live.get("loss") == 2.0
    assert live.get("loss@trainer") == 1.0
    assert live.get("loss@absent") is None
    assert live.get("absent") is None


def test_every_listed_name_can_be_asked_for() -> None:
    live = LiveResponses()
    live.update("messages", [hop(i, i * 0.1, truth=0, answer=0) for i in range(300)])
    live.update("metrics", [MetricRow(t, "h", "", name, t) for name in ("cpu_seconds", "energy", "memory") for t in (0.0, 1.0)])
    assert set(live.figures()) == set(UNTIL_NAMES)

"""Placing and drawing the deployment."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.report.drawing import draw
from estran.report.folder import Channel, Host, Replica, RunFolder, read_folder
from estran.report.topology import BOX_WIDTH, MOST_BOXES, arrange


def planned(hosts: list[Host], replicas: list[Replica], channels: list[Channel]) -> RunFolder:
    nothing: dict[str, Any] = {}
    return RunFolder(
        folder=Path(),
        run=nothing,
        hosts={host.name: host for host in hosts},
        replicas={replica.name: replica for replica in replicas},
        channels=tuple(channels),
        links=(),
        plan_warnings=(),
        network=nothing,
        responses={},
        manifest=nothing,
        assignment=nothing,
    )


def test_every_host_service_and_stream_is_drawn(runs: Mapping[str, Path]) -> None:
    drawing = draw(arrange(read_folder(runs["done"])))
    root = ET.fromstring(drawing)
    words = " ".join(root.itertext())
    for name in (
        "edge-0",
        "edge-3",
        "fog-0",
        "cloud-0",
        "camera-2",
        "detector-0",
        "trainer-0",
        "camera.samples",
        "← trainer.models",
    ):
        assert name in words
    assert "asked 5\u202fms · 100\u202fMbit/s" in words
    assert words.count("asked 40\u202fms") >= 1


def test_a_hundred_hosts_take_one_box_for_all_that_are_alike(runs: Mapping[str, Path]) -> None:
    topology = arrange(read_folder(runs["hundred"]))
    assert [len(boxes) for _, boxes in topology.lanes] == [1, 1, 1]
    assert topology.lanes[0][1][0].chips[0].label == "camera ×98"
    assert topology.height < 400


def test_a_failed_service_is_marked(runs: Mapping[str, Path]) -> None:
    drawing = draw(arrange(read_folder(runs["failed"])), failed=frozenset({"trainer-0"}))
    assert drawing.count("chip bad") == 1


@st.composite
def deployments(draw: st.DrawFn) -> RunFolder:
    layers = draw(st.integers(1, 4))
    hosts = [Host(f"l{layer}-{i}", f"l{layer}", f"d{i % 3}") for layer in range(layers) for i in range(draw(st.integers(1, 14)))]
    replicas = [
        Replica(f"s{service}-{i}", f"s{service}", "kind", draw(st.sampled_from(hosts)).name)
        for service in range(draw(st.integers(0, 4)))
        for i in range(draw(st.integers(1, 6)))
    ]
    pairs = draw(st.lists(st.tuples(st.sampled_from(replicas), st.sampled_from(replicas)), max_size=12)) if replicas else []
    return planned(hosts, replicas, [Channel(f"{a.service}.out", a.name, b.name, "latest") for a, b in pairs])


@given(deployments())
def test_boxes_never_overlap_and_the_drawing_is_well_formed(run: RunFolder) -> None:
    topology = arrange(run)
    boxes = [box for _, inside in topology.lanes for box in inside]
    for a, b in combinations(boxes, 2):
        assert (
            a.left + BOX_WIDTH <= b.left or b.left + BOX_WIDTH <= a.left or a.top + a.height <= b.top or b.top + b.height <= a.top
        )
    assert all(box.top + box.height <= topology.height and box.left + BOX_WIDTH <= topology.width for box in boxes)
    assert all(len(inside) <= MOST_BOXES for _, inside in topology.lanes)
    drawn = sum(len(box.hosts) for box in boxes) + sum(topology.hidden.values())
    assert drawn == len(run.hosts)
    for bundle in topology.bundles:
        assert 0 < bundle.slot < topology.height
    ET.fromstring(draw(topology))


@given(deployments())
def test_labels_of_one_gap_keep_their_distance(run: RunFolder) -> None:
    bundles = arrange(run).bundles
    for a, b in combinations(bundles, 2):
        if a.gap == b.gap:
            assert abs(a.slot - b.slot) >= 60


def test_a_run_that_planned_nothing_draws_an_empty_lane_list() -> None:
    topology = arrange(planned([], [], []))
    assert topology.lanes == []
    assert pytest.approx(topology.width, abs=500) == 0

"""Where the page's drawing of a deployment has its boxes, arrows and labels."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given

from estran.report.folder import Channel, Host, Replica, RunFolder, read_folder
from estran.web.drawing import Drawing, draw
from estran.web.picture import picture
from estran.web.placing import BOX, ROW, Placing, Way
from tests.report.test_topology import deployments, planned


def levels(drawing: Drawing, placing: Placing) -> dict[tuple[int, int], list[float]]:
    """Heights of labels by the gap between lanes in which they stand."""
    found: dict[tuple[int, int], list[float]] = {}
    for arrow in drawing.arrows:
        if arrow.told:
            first, last = sorted(arrow.lanes)
            found.setdefault((first, max(last, first + 1)), []).append(placing.routes[arrow.identity].y)
    return found


def extent(line: str) -> tuple[float, float]:
    """Least and greatest x of a path's points; those that its curves are drawn to cannot lie beyond."""
    absolute = re.findall(r"(-?[\d.]+) -?[\d.]+|H(-?[\d.]+)", line)
    numbers = [float(a or b) for a, b in absolute]
    return min(numbers), max(numbers)


@given(deployments())
def test_nothing_lies_on_another(run: RunFolder) -> None:
    drawing = draw(run)
    placing = Placing(drawing)
    boxes = [placing.spots[identity] for identity, _ in drawing.boxes]
    for a, b in combinations(boxes, 2):
        assert a.lane != b.lane or a.top + a.height <= b.top or b.top + b.height <= a.top
    for gap, inside in levels(drawing, placing).items():
        assert all(abs(a - b) >= ROW - 1e-6 for a, b in combinations(inside, 2)), gap
        if gap[1] - gap[0] > 1:  # such labels may stand in a lane
            passed = [spot for spot in boxes if gap[0] < spot.lane < gap[1]]
            assert all(level - ROW / 2 >= spot.top + spot.height - 1e-6 for level in inside for spot in passed)


@given(deployments())
def test_the_picture_is_well_formed_and_holds_all_that_is_in_it(run: RunFolder) -> None:
    drawing = draw(run)
    placing, root = Placing(drawing), ET.fromstring(picture(drawing))
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    for spot in placing.spots.values():
        assert left <= spot.x - BOX / 2
        assert spot.x + BOX / 2 <= left + width
        assert top <= spot.top
        assert spot.top + spot.height <= top + height
    for route in placing.routes.values():
        least, most = extent(route.line)
        assert left <= least
        assert most <= left + width
        assert top <= route.y <= top + height
    names = [edge["id"] for edge in drawing.plain()["edges"]]
    assert [one.attrib["data-id"] for one in root.iter() if one.attrib.get("class", "").startswith("arrow")] == names
    told = [arrow.identity for arrow in drawing.arrows if arrow.told]
    assert [one.attrib["data-of"] for one in root.iter() if "data-of" in one.attrib] == told


@given(deployments())
def test_arrows_that_nobody_planned_go_round_those_that_were(run: RunFolder) -> None:
    drawing = draw(run)
    placing = Placing(drawing)
    before, taken = dict(placing.routes), levels(drawing, placing)
    boxes = [identity for identity, _ in drawing.boxes]
    ways = [Way(f"{a} {b}", a, b, f"{a} {b}") for a, b in combinations(boxes[:4], 2)]
    found = placing.add(ways)
    assert placing.routes == before
    for way in ways:
        first, last = sorted((placing.spots[way.source].lane, placing.spots[way.target].lane))
        planned_here = taken.get((first, max(last, first + 1)), [])
        assert all(abs(found[way.identity].y - other) >= ROW - 1e-6 for other in planned_here)


def test_many_arrows_of_a_stream_pass_through_its_one_label() -> None:
    hosts = [Host(f"edge-{i}", "edge", f"device-{i}") for i in range(6)] + [Host("fog-0", "fog", "server")]
    replicas = [Replica(f"camera-{i}", "camera", "source", f"edge-{i}") for i in range(6)]
    run = planned(
        hosts,
        [*replicas, Replica("detector-0", "detector", "predictor", "fog-0")],
        [Channel("camera.samples", replica.name, "detector-0", "latest") for replica in replicas],
    )
    drawing = draw(run)
    routes = Placing(drawing).routes.values()
    assert len(routes) == 6
    assert len({(route.x, route.y) for route in routes}) == 1
    assert picture(drawing).count("data-of=") == 1


def test_arrows_to_and_fro_are_told_apart() -> None:
    run = planned(
        [Host("a", "one", "d"), Host("b", "two", "d")],
        [Replica("x-0", "x", "k", "a"), Replica("y-0", "y", "k", "b")],
        [Channel("x.out", "x-0", "y-0", "latest"), Channel("y.out", "y-0", "x-0", "latest")],
    )
    on, back = Placing(draw(run)).routes.values()
    assert abs(on.y - back.y) >= ROW - 1e-6
    assert on.line.partition("C")[0].split()[1] != back.line.rsplit(" ", 1)[1]  # at x: where the one begins, the other ends


@pytest.mark.parametrize("run", ["hostile", "done"])
def test_what_a_run_says_is_text_in_the_picture(root: Path, run: str) -> None:
    drawn = ET.fromstring(picture(draw(read_folder(root / "runs" / "visual-inspection" / run))))
    assert {one.tag for one in drawn.iter()} == {"svg", "g", "rect", "path", "text"}

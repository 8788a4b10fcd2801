"""Links brought together, and what stands in for what."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from estran.report import render
from estran.report.folder import read_folder
from estran.report.network import facts, fallbacks, group, ladders, links, worth_telling
from estran.report.verdict import cause


@pytest.fixture
def folder(runs: Mapping[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(runs["done"], tmp_path / "run")


def rewrite(folder: Path, **entries: object) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_like_links_are_one_group(folder: Path) -> None:
    run = read_folder(folder)
    groups = group(links(run), run.hosts)
    assert [(like.source, like.target, len(like.links)) for like in groups] == [
        ("edge-0…edge-3", "fog-0", 4),
        ("fog-0", "edge-0…edge-3", 4),
        ("fog-0", "cloud-0", 1),
        ("cloud-0", "fog-0", 1),
    ]
    assert all(like.ok for like in groups)


def test_one_probed_link_stands_for_those_that_are_alike(folder: Path) -> None:
    first = json.loads((folder / "network.json").read_text())["links"][:1]
    rewrite(folder, links=first)
    run = read_folder(folder)
    groups = group(links(run), run.hosts)
    assert (groups[0].probed, len(groups[0].links), groups[0].ok) == (1, 4, True)
    assert groups[0].measured("delay").startswith("5.")
    assert (groups[1].probed, groups[1].ok) == (0, None)
    assert "1 of them, standing for those that are alike" in render(folder)


def test_a_link_outside_tolerance_is_named_with_its_complaint(folder: Path) -> None:
    entries = json.loads((folder / "network.json").read_text())["links"]
    entries[2] |= {"ok": False, "complaint": "delay: asked 5ms, got 9ms"}
    rewrite(folder, links=entries)
    run = read_folder(folder)
    assert [like.ok for like in group(links(run), run.hosts)].count(False) == 1
    page = render(folder)
    assert "delay: asked 5ms, got 9ms" in page
    assert "1 outside tolerance" in page


def test_quantities_that_nobody_asked_for_and_no_link_has_are_left_out(folder: Path) -> None:
    run = read_folder(folder)
    assert worth_telling(group(links(run), run.hosts)) == ["delay", "jitter", "rate"]


def test_the_ladder_tells_what_stands_in_for_what(folder: Path) -> None:
    ladder = {"netem": {"works": False, "why": "no qdisc; load a module"}, "nfqueue": {"works": True, "why": "a packet came"}}
    rewrite(
        folder,
        facts={"engine_ladder": ladder, "engine": {"engine": "nfqueue", "pairs": {"a>b": {"packets": 1}}}, "notes": ["tight"]},
    )
    run = read_folder(folder)
    assert fallbacks(run) == ["engine nfqueue stands in for netem: no qdisc", "tight"]
    assert [(rung.name, rung.works, rung.used) for rung in ladders(run)] == [("netem", False, False), ("nfqueue", True, True)]
    assert facts(run) == [("engine · engine", "nfqueue")]


def test_a_cause_that_lists_complaints_is_taken_apart() -> None:
    assert cause("not as asked: a; b") == ("not as asked", ["a", "b"])
    assert cause("could not open: no such file") == ("could not open: no such file", [])

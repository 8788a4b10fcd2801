"""The page as markup: whole, in order, escaped, small."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest

from estran.report import render, write_report

from .synthetic import EVIL, Scene, write_run

SECTIONS = [
    "topology",
    "accuracy",
    "latency",
    "hosts",
    "staleness",
    "recorded",
    "network",
    "responses",
    "services",
    "warnings",
    "reproducibility",
]


class Outline(HTMLParser):
    """Sections in order, all tags, and every attribute that could load something."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        if tag == "section":
            self.sections.append(known.get("id") or "")
        self.loads += [known[name] or "" for name in ("src", "href", "action", "data", "srcset") if name in known]
        self.handlers += [name for name in known if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("kind", ["done", "untaught", "hundred"])
def test_all_sections_are_there_in_order(runs: Mapping[str, Path], kind: str) -> None:
    assert Outline(render(runs[kind])).sections == SECTIONS


def test_a_failure_comes_first(runs: Mapping[str, Path]) -> None:
    page = render(runs["failed"])
    assert Outline(page).sections == ["failure", *SECTIONS]
    for words in ("phase measure · host cloud-0 · service trainer-0", "exit code 1", "What to do", "not aligned"):
        assert words in page
    assert page.index("not aligned") < page.index('class="verdict"')


def test_the_verdict_tells_accuracy_against_both_baselines(runs: Mapping[str, Path]) -> None:
    page = render(runs["done"])
    verdict = re.search(r'<p class="verdict">(.*?)</p>', page)
    assert verdict is not None
    words = verdict[1].replace("\u202f", " ")
    assert words.startswith(
        "Done in 24 s, 18 s of it measured. 83.9 % of the answers were right (95 % CI 79.1 to 87.8 %): 38.5 points above"
    )
    assert "the no-change baseline (45.4 %)" in words
    assert "the majority baseline (9.81 %)" in words
    assert "99 % within 18.3 ms" in words
    assert "301 ms old on average" in words


def test_without_a_predictor_the_page_says_why_there_is_no_accuracy(runs: Mapping[str, Path]) -> None:
    page = render(runs["untaught"])
    assert "No predictor runs in this experiment" in page
    assert "of the answers were right" not in page
    assert "Half of the messages were processed within" in page


def test_nothing_is_loaded_and_nothing_runs_but_the_pages_own(runs: Mapping[str, Path]) -> None:
    outline = Outline(render(runs["hostile"]))
    assert all(target.startswith("#") or target == "data:," for target in outline.loads)
    assert outline.handlers == []
    assert outline.tags.count("script") == 5
    assert "img" not in outline.tags


def test_hostile_strings_are_shown_as_they_are(runs: Mapping[str, Path]) -> None:
    page = render(runs["hostile"])
    assert EVIL not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert "\x1b" not in page
    assert "\x00" not in page


def test_the_policy_forbids_all_but_hashed_scripts_and_styles(runs: Mapping[str, Path]) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', render(runs["done"]))
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert "http" not in policy[1]


def test_weaker_means_are_named_before_the_first_section(runs: Mapping[str, Path]) -> None:
    page = render(runs["done"])
    assert page.index("netem is not in this kernel") < page.index('id="topology"')
    assert "delay · engine" in page


def test_a_page_is_small_however_many_messages(tmp_path: Path, runs: Mapping[str, Path]) -> None:
    many = write_run(tmp_path / "many", Scene(cameras=20, rate=150))
    assert len(render(many).encode()) < 300_000
    assert len(render(runs["hundred"]).encode()) < 500_000


def test_the_page_is_written_whole(tmp_path: Path, runs: Mapping[str, Path]) -> None:
    folder = shutil.copytree(runs["done"], tmp_path / "run")
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == render(folder)
    assert not list(folder.glob("*.part"))


def test_a_run_that_failed_before_anything_was_planned_has_a_page(tmp_path: Path) -> None:
    record = {
        "schema": 1, "id": "r", "experiment": "e", "status": "failed",
        "failure": {"phase": "provision", "what": "no root", "remedy": "use sudo"},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(record))
    outline = Outline(page := render(tmp_path))
    assert outline.sections == ["failure", *SECTIONS]
    assert "no root" in page
    assert page.count('class="absent"') >= 6

"""The page of an explained study: whole, in order, escaped, without anything that is no number, and right in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")
pytest.importorskip("pyDOE3", reason="designs need pyDOE3: pip install 'estran[study]'")

from estran.errors import RequestError
from estran.report.study_data import Study, gather
from estran.report.study_page import page, write_study_page
from estran.study.folder import Asked, Folder, Outcome
from estran.study.rows import Row
from tests.explain.planted import table

from . import studies
from .test_browser import visit
from .test_page import Outline

REST = ["time", "front", "used", "next", "runs", "reproduce"]
NO_NUMBER = re.compile(r"\bnan\b|\bNaN\b|\bNone\b|\binf\b|\binfinity\b|\bundefined\b")

INSIDE = """() => [...document.querySelectorAll('svg.plot text')].filter((shown) => {
  const box = shown.getBoundingClientRect(), frame = shown.closest('svg').getBoundingClientRect();
  const across = box.left < frame.left - 3 || box.right > frame.right + 6;
  return box.width && (across || box.top < frame.top - 3 || box.bottom > frame.bottom + 3);
}).map((shown) => shown.textContent)"""


@pytest.fixture(scope="module")
def explained() -> dict[str, Study]:
    """One of each kind."""
    return {
        "usual": studies.usual(),
        "hosts": studies.per_host(),
        "many": studies.many(),
        "drawn": studies.drawn(),
        "indexed": studies.indexed(),
    }


@pytest.mark.parametrize(("kind", "responses"), [("usual", 2), ("hosts", 1), ("many", 1), ("drawn", 1), ("indexed", 1)])
def test_all_sections_are_there_in_order(explained: Mapping[str, Study], kind: str, responses: int) -> None:
    outline = Outline(shown := page(explained[kind]))
    assert outline.sections == [*(f"r{i}" for i in range(responses)), *REST]
    assert not NO_NUMBER.search(_main(shown))
    assert len(shown.encode()) < 400_000


def test_nothing_is_loaded_and_nothing_runs_but_the_pages_own(explained: Mapping[str, Study]) -> None:
    outline = Outline(shown := page(explained["usual"]))
    assert all(target.startswith("#") or target == "data:," for target in outline.loads)
    assert outline.handlers == []
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags
    assert studies.EVIL not in shown
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', shown)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_words_come_first_and_failed_runs_are_told(explained: Mapping[str, Study]) -> None:
    shown = page(explained["usual"])
    assert shown.index('class="verdict"') < shown.index("4 runs of 54 failed") < shown.index('id="r0"')
    assert shown.count("service trainer-4 exited with 1") == 2
    assert shown.count("service trainer-42 exited with 1") == 1
    waiting = page(replace(explained["usual"], failures={}, unmade=4))
    assert "not finished" in waiting
    assert "of 54, 4 to be made" in waiting
    assert "No run failed. 4 runs to be made" in waiting
    assert "placement_of_the_detector explains" in shown
    assert re.search("transfer edge → fog explains 100 ?% .*of the mean increase", shown.replace("\u202f", " "))


def test_every_picture_is_told_and_has_its_table(explained: Mapping[str, Study]) -> None:
    shown = page(explained["usual"])
    pictures = re.findall(r'<svg class="plot"[^>]*>', shown)
    assert len(pictures) >= 2 * (3 + 1 + 3) + 3
    assert all('role="img" aria-label="' in picture for picture in pictures)
    for heading in ("Main effects", "Interactions", "Residuals"):
        part = shown[shown.index(f"<h3>{heading}</h3>") :]
        assert "<table>" in part[: part.index("<h3>", 10)]


def test_levels_beyond_any_number_do_not_swell_the_page(explained: Mapping[str, Study]) -> None:
    shown = page(explained["drawn"])
    assert "Every 9 of 200 levels." in shown
    assert "And 140 points more" in shown


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_nothing_on_the_page_is_no_number(data: st.DataObject) -> None:
    levels = st.lists(
        st.sampled_from(["edge", "cloud", "1ms", "20ms", "0.5", "<b>", "ü" * 60, "-3"]), min_size=2, max_size=4, unique=True
    )
    factors = {f"f{i}": tuple(data.draw(levels)) for i in range(data.draw(st.integers(1, 3)))}
    points = [dict(zip(factors, chosen, strict=True)) for chosen in product(*factors.values())]
    replicates = data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size, scale = replicates * len(points), 10.0 ** data.draw(st.integers(-12, 12))
    kinds = [
        rng.normal(size=size),
        rng.integers(2, size=size) * 1.0,
        np.arange(size) * 1.0,
        rng.standard_cauchy(size),
        np.ones(size),
    ]
    y = scale * data.draw(st.sampled_from(kinds))
    made = table(factors, points, replicates, np.where(rng.random(size) < data.draw(st.sampled_from([0, 0.3])), np.nan, y))
    more = {"accuracy": data.draw(st.sampled_from(kinds)), "energy": np.full(size, np.nan)}
    done = rng.random(size) > data.draw(st.sampled_from([0.0, 0.2]))
    assume(done.any())
    made = replace(made, done=done, responses={**made.responses, **more}, units={"latency": "s", "accuracy": "fraction"})
    try:
        found = gather(made)
    except RequestError:
        assume(False)
    assert not NO_NUMBER.search(_main(page(found)))


def test_the_verbs_write_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from estran.cli.explain import explain
    from estran.cli.look import report

    folder = _folder(tmp_path / "study")
    explain(folder, json=True)
    told = json.loads(capsys.readouterr().out)
    path = folder / "explain.html"
    assert told["page"] == str(path)
    assert [one["response"] for one in told["explanations"]] == ["latency"]
    first = path.read_text(encoding="utf-8")
    path.unlink()
    report(str(folder))
    assert capsys.readouterr().out.strip() == str(path)
    explain(folder)
    words = capsys.readouterr().out
    assert words.startswith("latency")
    assert str(path) in words.splitlines()[-1]
    assert path.read_text(encoding="utf-8") == first == page(gather(_read(folder)))
    assert not list(folder.glob("*.part"))
    assert write_study_page(gather(_read(folder))) == path


@pytest.mark.browser
@pytest.mark.parametrize(
    ("kind", "width", "scheme"),
    [("usual", 1280, "light"), ("usual", 375, "dark"), ("many", 375, "light"), ("drawn", 1280, "dark"), ("indexed", 375, "light")],
)
def test_it_fetches_nothing_complains_of_nothing_and_fits(
    browser: Any, explained: Mapping[str, Study], tmp_path: Path, kind: str, width: int, scheme: str
) -> None:
    path = tmp_path / "explain.html"
    path.write_text(page(explained[kind]), encoding="utf-8")
    with visit(browser, path, width=width, color_scheme=scheme) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert seen.page.evaluate(INSIDE) == []
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith("data:")] == [path.as_uri()]


@pytest.mark.browser
def test_a_list_chooses_responses_and_the_theme_can_be_switched(
    browser: Any, explained: Mapping[str, Study], tmp_path: Path
) -> None:
    path = tmp_path / "explain.html"
    path.write_text(page(explained["usual"]), encoding="utf-8")
    shown = "() => [...document.querySelectorAll('[data-of=front]')].filter((one) => !one.hidden).map((one) => one.dataset.name)"
    with visit(browser, path, color_scheme="light") as seen:
        assert seen.page.evaluate(shown) == ["accuracy × latency"]
        seen.page.select_option("select[data-choose=front]", "latency × energy")
        assert seen.page.evaluate(shown) == ["latency × energy"]
        before = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        seen.page.click("#theme")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert seen.complaints == []
    with visit(browser, path, java_script_enabled=False) as seen:
        assert seen.page.locator("[data-of=front]:visible").count() == 3
        assert not seen.page.locator("select").is_visible()
        assert len(seen.page.pdf(format="A4", print_background=True)) > 50_000


def _main(shown: str) -> str:
    return shown[shown.index("<main") : shown.index("</main>")]


def _folder(path: Path) -> Path:
    points = [{"placement": place} for place in ("edge", "cloud")]
    rows = [Row(b * 2 + p + 1, b + 1, p + 1, 1 + b, points[p]) for b in range(4) for p in range(2)]
    factors = {"placement": ("edge", "cloud")}
    folder = Folder.make(path, Asked("e", "e.yaml", "", "simulate", None, (), "full", None, 4, 1, 1, factors), rows)
    y = np.random.default_rng(1).normal(size=8)
    values = {row.run: {"latency": {"value": float(10 + row.point + y[row.run - 1]), "unit": "s"}} for row in rows}
    folder.write_table({run: Outcome("done", path / "runs" / str(run), 1, found) for run, found in values.items()})
    return path


def _read(folder: Path) -> Any:
    from estran.explain.table import read_table

    return read_table(folder)

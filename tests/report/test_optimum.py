"""The page of an optimisation: what it tells, that it is one file, and that nothing from outside gets into its markup."""

from __future__ import annotations

import html
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from estran.report.optimum import charts, parallel
from estran.report.optimum.effects import Effects
from estran.report.optimum.page import page
from estran.report.optimum.tables import level
from estran.report.optimum.terminal import print_optimum
from estran.report.optimum.view import Figure, Optimum

from .optima import EVIL, optimum
from .test_browser import visit

NONE = Effects()


def shown(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", " ", markup, flags=re.S))).replace(
        "\u202f", " "
    )


def test_the_page_tells_the_gain_the_front_its_cost_and_how_to_go_on() -> None:
    words = shown(page(optimum(), NONE))
    for said in ("142 → 61 ms", "recommended.yaml", "Trusted: it ranks 12 paired points", "on the front", "energy<=40J", "472 s"):
        assert said in words


def test_it_loads_nothing_and_escapes_everything() -> None:
    written = page(optimum(hostile=True), Effects((), (EVIL,)))
    assert EVIL not in written
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:|recommended\.yaml)""", written)


def test_points_that_count_lie_over_the_others_and_are_reached_by_the_keyboard() -> None:
    found = optimum()
    drawn = re.findall(r'<g class="thread ([a-z]+) [^"]*"( tabindex="0")?', charts.coordinates(found))
    assert [role for role, _ in drawn][-2:] == ["default", "best"]
    assert all(bool(reached) == (role != "rest") for role, reached in drawn)
    assert len(drawn) == len(found.points)


def test_a_line_passes_a_factor_that_does_not_count() -> None:
    scales = [parallel.Scale(name, ()) for name in "abc"]
    drawn = parallel.parallel(scales, [parallel.Thread((0.0, None, 1.0), "rest", "one")], "said")
    (line,) = re.findall(r'p-line" d="M([^"]+)"', drawn)
    assert line.count("L") == 1


@pytest.mark.parametrize(("minimize", "expected"), [(True, 1.0), (False, 0.0)])
def test_the_better_end_of_a_goal_is_at_the_top(minimize: bool, expected: float) -> None:
    found = optimum(single=True)
    goal = replace(found.asked[0], minimize=minimize)
    scale, axis = charts._goal_scale(goal, found.shown)
    values = [one.figures[goal.response].mean for one in found.shown]
    assert round(axis.share(min(values)), 0) == expected
    assert scale.goal


def test_single_goals_have_a_picture_over_points_and_no_front() -> None:
    written = page(optimum(single=True, ladder=False), NONE)
    assert "The best points" in shown(written)
    assert "order of asking" in written


def test_a_point_without_figures_is_in_no_picture_but_is_counted() -> None:
    found = optimum()
    blank = replace(found.points[3], figures={"latency_p99": Figure(0.1)}, role="rest")
    found = replace(found, points=(*found.points[:3], blank, *found.points[4:]))
    assert len(found.shown) == len(found.points) - 1
    assert f"{len(found.points):,}" in shown(page(found, NONE))


def test_nothing_finished_is_said() -> None:
    found: Optimum = optimum()
    empty = replace(found, points=(), trials=(), progress=replace(found.progress, steps=()), recommended=None)
    assert "No run has finished" in shown(page(empty, NONE))


def test_the_terminal_has_the_answer_first_and_the_recommended_point_on_top() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        print_optimum(console, optimum())
    said = captured.get()
    assert said.startswith("latency_p99 142")
    assert said.index("→ best") < said.index("default") < said.index("fidelity")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_narrow_terminal_hides_nothing(width: int) -> None:
    seen = optimum()
    console = Console(width=width)
    with console.capture() as captured:
        print_optimum(console, seen)
    said = captured.get()
    assert "…" not in "".join(line for line in said.splitlines() if "95 %" not in line)
    (best,) = (one for one in seen.points if one.role == "best")
    for factor in seen.factors:
        assert f"{factor.name}={level(best, factor)}" in said.replace("\n", "")


def test_the_command_that_runs_the_recommended_point_bears_any_path() -> None:
    seen = replace(optimum(), folder="st udies/x")
    assert shlex.split(seen.run_command) == ["estran", "run", "st udies/x/recommended.yaml"]


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
@pytest.mark.parametrize("kind", ["two", "one", "hostile"])
def test_it_draws_and_fits_in_a_browser(browser: Any, tmp_path: Path, kind: str, width: int, scheme: str) -> None:
    file = tmp_path / "optimize.html"
    file.write_text(page(optimum(single=kind == "one", hostile=kind == "hostile"), NONE), encoding="utf-8")
    with visit(browser, file, width=width, color_scheme=scheme) as seen:
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith("file:")] == []
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert seen.page.evaluate(
            "[...document.querySelectorAll('svg.plot')].every(one => one.getBoundingClientRect().height > 100)"
        )
        seen.page.locator(".thread[tabindex]").last.focus()
        width_of = "getComputedStyle(document.activeElement.querySelector('.p-line')).strokeWidth"
        assert seen.page.evaluate(width_of) == "4px"

"""The page in a real browser: nothing is fetched, nothing complains, charts are drawn, it fits a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from estran.report import render

pytestmark = pytest.mark.browser

INK = """() => [...document.querySelectorAll('[data-chart]')].map((place) => {
  const canvas = place.querySelector('canvas');
  if (!canvas) return 0;
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let i = 0; i < pixels.length; i += 4)
    if (pixels[i + 3] > 200) colours.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
  return colours.size;
})"""


@dataclass
class Visit:
    """A page and what happened while it was open."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def pages(runs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The rendered pages as files."""
    folder = tmp_path_factory.mktemp("pages")
    paths = {kind: folder / f"{kind}.html" for kind in runs}
    for kind, path in paths.items():
        path.write_text(render(runs[kind]), encoding="utf-8")
    return paths


@contextmanager
def visit(browser: Any, path: Path, *, width: int = 1440, **options: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    found = Visit(context.new_page())
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("dialog", lambda dialog: (found.complaints.append("a dialog: " + dialog.message), dialog.dismiss()))
    found.page.goto(path.as_uri())
    try:
        yield found
    finally:
        context.close()


@pytest.mark.parametrize(
    ("kind", "width", "scheme"),
    [
        ("done", 1440, "light"),
        ("done", 390, "dark"),
        ("failed", 1440, "dark"),
        ("untaught", 390, "light"),
        ("hundred", 1440, "light"),
        ("hostile", 390, "light"),
    ],
)
def test_it_draws_fetches_nothing_and_fits(browser: Any, pages: Mapping[str, Path], kind: str, width: int, scheme: str) -> None:
    with visit(browser, pages[kind], width=width, color_scheme=scheme) as seen:
        ink = seen.page.evaluate(INK)
        assert len(ink) >= 5
        assert min(ink) >= 3, "a chart has no lines"
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert seen.complaints == []
        assert [url for url in seen.requests if url.split(":")[0] not in ("file", "data")] == []
        assert len([url for url in seen.requests if url.startswith("file")]) == 1


def test_hostile_strings_do_nothing(browser: Any, pages: Mapping[str, Path]) -> None:
    with visit(browser, pages["hostile"]) as seen:
        seen.page.wait_for_timeout(100)
        assert seen.complaints == []
        assert not [url for url in seen.requests if "evil" in url]
        assert "alert(1)" in seen.page.inner_text("h1")
        assert min(seen.page.evaluate(INK)) >= 3


def test_the_theme_can_be_switched_and_charts_follow(browser: Any, pages: Mapping[str, Path]) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    first_line = "() => getComputedStyle(document.querySelector('.line-key line')).stroke"
    with visit(browser, pages["done"], color_scheme="light") as seen:
        light, line = seen.page.evaluate(background), seen.page.evaluate(first_line)
        seen.page.focus("#theme")
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate(background) != light
        assert seen.page.evaluate(first_line) != line
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate(background) == light
        assert seen.complaints == []


def test_charts_work_from_the_keyboard(browser: Any, pages: Mapping[str, Path]) -> None:
    value = "() => document.querySelector('[data-chart=accuracy] .u-legend .u-series:nth-child(2) .u-value').textContent"
    with visit(browser, pages["done"]) as seen:
        seen.page.focus("[data-chart=accuracy]")
        seen.page.keyboard.press("End")
        assert seen.page.evaluate(value).endswith("%")
        name = seen.page.locator("[data-chart=accuracy] .u-legend .u-series").nth(1)
        name.locator("th").focus()
        seen.page.keyboard.press("Enter")
        assert "u-off" in name.get_attribute("class")


def test_without_scripts_text_tables_and_topology_remain(browser: Any, pages: Mapping[str, Path]) -> None:
    with visit(browser, pages["done"], java_script_enabled=False) as seen:
        assert seen.page.locator("svg.topology").is_visible()
        assert seen.page.locator(".bar rect").first.is_visible()
        assert seen.page.locator("table").count() >= 6
        assert "needs JavaScript" in seen.page.inner_text("#accuracy")
        assert not seen.page.locator("#theme").is_visible()
        assert seen.complaints == []


def test_it_prints_light_from_dark(browser: Any, pages: Mapping[str, Path]) -> None:
    with visit(browser, pages["done"], color_scheme="dark") as seen:
        assert len(seen.page.pdf(format="A4", print_background=True)) > 20_000
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert seen.page.evaluate("document.documentElement.style.colorScheme") == "light"
        seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert seen.page.evaluate("document.documentElement.style.colorScheme") == "light dark"

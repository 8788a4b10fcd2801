"""Every view in a real browser: opened, used, with nothing fetched from elsewhere and no complaint."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from estran.run.hand import door_of
from estran.web.index import key_of

from .answering import answering
from .growing import Growing
from .served import Served, served

pytestmark = pytest.mark.browser

INK = """() => [...document.querySelectorAll('[data-chart]')].map((place) => {
  const colours = new Set();
  for (const canvas of place.querySelectorAll('canvas')) {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < pixels.length; i += 4)
      if (pixels[i + 3] > 200) colours.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
  }
  return colours.size;
})"""
SAID = "() => [...document.querySelectorAll('#drawing .label')].map((label) => label.textContent).join()"
OUTSIDE = """() => [...document.querySelectorAll('#drawing .drawn-box, #drawing .drawn-chip')].filter((node) => {
  const edge = node.querySelector('rect').getBoundingClientRect();
  return [...node.querySelectorAll('text')].some((text) => {
    const inside = text.getBoundingClientRect();
    return inside.left < edge.left || inside.right > edge.right || inside.top < edge.top || inside.bottom > edge.bottom;
  });
}).map((node) => node.textContent)"""
"""Boxes and services whose text leaves them."""
READY = "body[data-ready]"


@dataclass
class Visit:
    """A page and what happened while it was open."""

    page: Any
    server: Served
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.server.origin + path)
        self.page.wait_for_selector(READY, timeout=30_000)

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    @property
    def foreign(self) -> list[str]:
        return [url for url in self.requests if not url.startswith((self.server.origin, "data:"))]


@contextmanager
def visit(browser: Any, server: Served, *, width: int = 1440, **options: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    name, _, value = server.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": server.origin, "httpOnly": True, "sameSite": "Strict"}])
    seen = Visit(context.new_page(), server)
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("dialog", lambda dialog: (seen.complaints.append("a dialog: " + dialog.message), dialog.dismiss()))
    try:
        yield seen
        assert seen.complaints == []
        assert seen.foreign == []
    finally:
        context.close()


@pytest.fixture
def done(root: Path) -> Path:
    return root / "runs" / "visual-inspection" / "done"


def draw_all(page: Any) -> None:
    """Bring every chart into sight, as they are drawn only then."""
    for place in page.locator("[data-chart]").all():
        place.scroll_into_view_if_needed()
        place.locator("canvas").wait_for()


def fits(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_the_printed_link_leads_to_the_page_once(browser: Any, root: Path) -> None:
    with served([root]) as one, visit(browser, Served(one.access, "x=y")) as seen:
        link = one.access.link()
        seen.page.goto(link)
        seen.page.wait_for_selector(READY)
        assert seen.page.url == f"{one.origin}/"
        assert seen.page.evaluate("document.cookie") == ""
        seen.page.goto(link)
        assert "used before" in seen.page.inner_text("body")
        seen.complaints.clear()  # of the answer's status


def test_runs_are_sorted_narrowed_and_chosen(browser: Any, server: Served) -> None:
    with visit(browser, server) as seen:
        page = seen.page
        seen.go("/")
        assert len(seen.texts("#run-table .rows tr")) == 8
        page.get_by_role("button", name="accuracy").click()
        shown = [float(text.split()[0]) for text in seen.texts("#run-table .rows td:nth-child(11)")]
        assert shown == sorted(shown, reverse=True)
        assert page.get_by_role("columnheader", name="accuracy").get_attribute("aria-sort") == "descending"
        page.keyboard.press("Enter")  # the heading has kept the focus
        assert page.get_by_role("columnheader", name="accuracy").get_attribute("aria-sort") == "ascending"
        page.fill("#find", "fog visual OTHER")
        assert seen.texts("#run-table .rows td:nth-child(2)") == ["other"]
        page.fill("#find", "")
        page.select_option("#status", "failed")
        assert set(seen.texts("#run-table .rows td:nth-child(2)")) == {"failed", "hostile", "1-1"}
        page.select_option("#status", "")
        page.check("#single")
        assert len(seen.texts("#run-table .rows tr")) == 4
        for name in ("done", "other"):
            page.check(f"[aria-label='choose {name}']")
        page.click("#compare")
        page.wait_for_selector(READY)
        assert set(seen.texts("#side-table th")[1:]) == {"done", "other"}
        rows = seen.texts("#response-table tbody tr td:first-child")
        assert rows[0] == "accuracy"
        page.check("#parts")
        assert len(seen.texts("#response-table tbody tr td:first-child")) > len(rows)


def test_markup_in_a_runs_strings_stays_text(browser: Any, server: Served, root: Path) -> None:
    with visit(browser, server) as seen:
        seen.go("/")
        assert "<script>alert(1)</script>" in seen.page.inner_text("#run-table")
        seen.go(f"/run/{key_of(root / 'runs' / 'visual-inspection' / 'hostile')}")
        assert "<script>alert(1)</script>" in seen.page.inner_text("h1")
        seen.page.wait_for_timeout(200)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (1920, "dark")])
def test_a_finished_run_is_shown_whole(browser: Any, server: Served, done: Path, width: int, scheme: str) -> None:
    with visit(browser, server, width=width, color_scheme=scheme) as seen:
        seen.go(f"/run/{key_of(done)}")
        draw_all(seen.page)
        ink = seen.page.evaluate(INK)
        assert len(ink) == 9
        assert min(ink) >= 3
        assert fits(seen.page)
        assert seen.page.evaluate(OUTSIDE) == []
        assert seen.page.evaluate(SAID).count("camera.samples49.7 /s") == 8
        assert seen.page.inner_text("#run-status") == "done"
        assert "accuracy" in seen.page.inner_text("#figures")
        for table, least in (("edge", 9), ("host", 6), ("replica", 6), ("model", 12), ("link", 4)):
            assert len(seen.texts(f"#{table}-table tbody tr")) >= least, table
        assert "95 % CI" in seen.page.inner_text("#figures")


def test_the_topology_is_there_before_any_script(browser: Any, server: Served, done: Path) -> None:
    with visit(browser, server, java_script_enabled=False) as seen:
        seen.page.goto(f"{server.origin}/run/{key_of(done)}")
        assert seen.page.locator("#drawing .drawn-chip").count() == 6
        assert seen.page.locator("#drawing .arrow").count() == 9
        assert "camera-3" in seen.page.inner_text("#drawing")


def test_a_run_is_used_with_keyboard_and_mouse(browser: Any, server: Served, done: Path) -> None:
    value = "() => document.querySelector('[data-chart=accuracy] .u-legend .u-series:nth-child(2) .u-value').textContent"
    with visit(browser, server) as seen:
        page = seen.page
        seen.go(f"/run/{key_of(done)}")
        draw_all(page)
        page.focus("[data-chart=accuracy]")
        page.keyboard.press("End")
        assert page.evaluate(value).endswith("%")
        box = page.locator("[data-chart=latency] .u-over").bounding_box()
        page.locator("[data-chart=latency]").scroll_into_view_if_needed()
        box = page.locator("[data-chart=latency] .u-over").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 30, steps=5)
        with page.expect_response("**/charts?*") as answered:
            page.mouse.up()
        assert all(4.0 < x < 7.0 for x in answered.value.json()[0]["x"])
        page.click("#whole")
        assert page.is_disabled("#whole")
        page.locator("#drawing .drawn-chip").last.click()
        assert page.inner_text("#chosen").startswith("trainer-0 (trainer)")
        page.locator("#drawing .label .name").last.click()
        assert "trainer.models, trainer-0 → detector-0" in page.inner_text("#chosen")
        assert page.locator("#drawing .arrow.chosen").count() == 1
        page.locator("#drawing svg").click(position={"x": 3, "y": 3})
        assert page.inner_text("#chosen") == ""
        page.set_viewport_size({"width": 1440, "height": 500})
        page.click("#fit")
        assert page.locator("#drawing svg").bounding_box()["height"] <= 400
        page.click("#fit")
        assert page.locator("#drawing svg").bounding_box()["height"] > 400
        page.select_option("#log-of", "detector-0")
        page.wait_for_function("() => document.getElementById('log-lines').textContent.includes('detector-0')")
        page.wait_for_function("() => !document.getElementById('log-lines').textContent.includes('camera-0')")
        page.fill("#log-find", "no such word")
        page.wait_for_function("() => document.getElementById('log-count').textContent === 'no lines'")
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        draw_all(page)
        assert min(page.evaluate(INK)) >= 3


def test_a_report_is_made_and_opened(browser: Any, server: Served, done: Path) -> None:
    try:
        with visit(browser, server) as seen:
            seen.go(f"/run/{key_of(done)}")
            seen.page.click("text=Make the report")
            seen.page.click("text=Report >> visible=true", timeout=30_000)
            seen.page.wait_for_selector("[data-chart=accuracy] canvas")
            assert seen.page.locator("table").count() >= 6
    finally:
        (done / "report.html").unlink(missing_ok=True)


def test_a_finished_run_is_replayed(browser: Any, server: Served, done: Path) -> None:
    samples = "() => document.getElementById('figures').innerText.match(/samples\\s+(\\d+)/)?.[1]"
    with visit(browser, server) as seen:
        page = seen.page
        seen.go(f"/run/{key_of(done)}")
        draw_all(page)
        whole = page.inner_text("#figures")
        newest = max(int(text) for text in re.findall(r"v(\d+)", page.text_content("#model-table")))
        page.fill("#replay-at", "4")
        page.wait_for_function("() => document.getElementById('figures').innerText.includes('answers so far')")
        early = int(page.evaluate(samples))
        assert page.inner_text("#replay-now").startswith("4.0 of")
        assert page.locator("[data-chart=accuracy] .moment").is_visible()
        page.keyboard.press(".")
        page.wait_for_function(f"() => Number(({samples})()) > {early}")
        last = f"v{newest}"
        assert last not in page.text_content("#model-table")
        page.select_option("#replay-speed", "20")
        page.click("#replay-play")
        page.wait_for_function(f"() => document.getElementById('model-table').textContent.includes('{last}')")
        page.wait_for_function("() => document.getElementById('replay-play').textContent.includes('Replay')")
        page.click("#replay-whole")
        assert page.inner_text("#figures") == whole
        assert not page.locator("[data-chart=accuracy] .moment").is_visible()


def test_keys_do_what_buttons_do(browser: Any, server: Served) -> None:
    with visit(browser, server) as seen:
        page = seen.page
        seen.go("/")
        page.keyboard.press("?")
        assert "next run" in page.inner_text("dialog[open]")
        page.keyboard.press("?")
        assert page.locator("dialog[open]").count() == 0
        page.keyboard.press("/")
        page.keyboard.type("jason")  # letters in a field are letters
        assert page.input_value("#find") == "jason"
        page.fill("#find", "")
        page.locator("#find").blur()
        for _ in range(2):
            page.keyboard.press("j")
            page.keyboard.press("Space")
        assert page.inner_text("#compare") == "Compare 2"
        page.keyboard.press("k")
        leads = page.evaluate("document.activeElement.querySelector('a').href")
        page.keyboard.press("Enter")
        page.wait_for_url(leads)
        page.wait_for_selector(READY)


def test_of_a_long_table_what_is_in_sight_is_drawn(browser: Any, root: Path, tmp_path: Path) -> None:
    record = json.loads((root / "runs" / "visual-inspection" / "done" / "run.json").read_text())
    for number in range(400):
        folder = tmp_path / "runs" / "e" / f"run-{number:03d}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(
            json.dumps(record | {"id": folder.name, "started": f"2026-11-23T18:{number // 60:02d}:{number % 60:02d}Z"})
        )
    with served([tmp_path]) as one:
        one.enter()
        with visit(browser, one) as seen:
            page = seen.page
            seen.go("/")
            assert page.inner_text("#count") == "400 runs"
            shown = seen.texts("#run-table .rows td:nth-child(2)")
            assert shown[:2] == ["run-399", "run-398"]
            assert len(shown) < 60
            page.evaluate("document.querySelector('#run-table .tall').scrollTop = 1e6")
            page.wait_for_function(
                "() => document.querySelector('#run-table .rows tr:last-child td:nth-child(2)').textContent === 'run-000'"
            )
            page.locator("#run-table .rows tr").last.focus()
            page.keyboard.press("Home")
            assert page.evaluate("document.activeElement.querySelector('a').textContent") == "run-399"
            page.keyboard.press("End")
            assert page.evaluate("document.activeElement.querySelector('a').textContent") == "run-000"


def test_runs_are_compared_over_time(browser: Any, server: Served, done: Path) -> None:
    with visit(browser, server) as seen:
        seen.go(f"/compare?of={key_of(done)}&of={key_of(done.with_name('other'))}")
        seen.page.wait_for_selector("[data-chart=latency] canvas")
        names = seen.page.locator("[data-chart=accuracy] .u-legend th").all_text_contents()
        assert {"done", "other"} <= {name.strip() for name in names}
        assert min(seen.page.evaluate(INK)) >= 3


def test_something_is_broken_from_the_page(browser: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    growing = Growing(root / "runs" / "visual-inspection" / "done", tmp_path / "e" / "r")
    growing.until(4.0)
    growing.record("running", "measure")
    asked: list[Any] = []

    def answer(request: Any) -> Any:
        asked.append(request)
        if "fault" not in request:
            return {"kinds": {"cut": None, "degrade": None, "crash": "not here"}}
        if request["fault"].get("delay") == "fast":
            return {"what": "'fast' is not a duration", "remedy": "write 10ms"}
        return {"begun": 4.5, "key": "by-hand-1/0", "targets": []}

    with answering(door_of("r"), answer), served([tmp_path]) as one:
        one.enter()
        with visit(browser, one) as seen:
            page = seen.page
            seen.go(f"/run/{key_of(growing.folder)}")
            page.click("#break")
            page.wait_for_selector("#fault[open]")
            assert page.locator("#fault-kind option[value=crash]").is_disabled()
            page.select_option("#fault-kind", "degrade")
            page.fill("#fault-settings input[name=delay]", "fast")
            page.click("#fault-go")
            page.wait_for_function(
                "() => document.getElementById('fault-said').textContent.includes('not a duration → write 10ms')"
            )
            page.select_option("#fault-kind", "cut")
            page.select_option("#fault-on", "fog")
            page.select_option("#fault-beyond", "cloud")
            page.fill("#fault-for", "2s")
            page.keyboard.press("Enter")
            page.wait_for_function("() => !document.getElementById('fault').open")
            growing.store.add(
                "events",
                [(4.5, "", "", "fault-begun", json.dumps({"key": "by-hand-1/0", "kind": "cut", "targets": ["cloud-0 ↔ fog-0"]}))],
            )
            growing.until(5.0)
            page.wait_for_function("() => document.getElementById('alerts').textContent.includes('cut of cloud-0 ↔ fog-0')")
            assert not page.locator("#fault").is_visible()
            assert asked[-1] == {"fault": {"cut": ["fog", "cloud"], "for": "2s"}}
            assert "broken on purpose" in page.evaluate(SAID)
            assert page.locator("#drawing .arrow.bad").count() >= 1
            seen.complaints.clear()  # of the refusal's status


def test_a_study_is_shown_with_what_was_made_of_it(browser: Any, server: Served, root: Path) -> None:
    with visit(browser, server) as seen:
        page = seen.page
        seen.go("/")
        page.click("text=placements")
        page.wait_for_selector(READY)
        assert page.inner_text("h1") == "visual-inspection"
        assert page.locator(".parts .part").count() == 3
        assert len(seen.texts("#row-table .rows tr")) == 4
        page.fill("#find", "placement=edge")
        assert seen.texts("#row-table .rows td:nth-child(2)") == ["2", "4"]
        page.fill("#find", "")
        page.check("[aria-label='choose 1']")
        page.check("[aria-label='choose 2']")
        assert page.inner_text("#compare") == "Compare 2"
        page.click("text=What drives its responses")
        page.wait_for_function("() => document.title === 'explained'")


def test_a_run_that_goes_on_is_followed_until_the_server_ends(browser: Any, root: Path, tmp_path: Path) -> None:
    growing = Growing(root / "runs" / "visual-inspection" / "done", tmp_path / "e" / "r")
    growing.until(2.0)
    last = "() => document.querySelector('#chart-list figure h3').textContent"
    with served([tmp_path]) as one:
        one.enter()
        with visit(browser, one) as seen:
            page = seen.page
            seen.go(f"/run/{key_of(growing.folder)}")
            assert page.inner_text("#run-status") == "running"
            assert page.locator("#phases progress").count() == 1
            assert page.evaluate(last) == "Accuracy"
            first = page.evaluate(SAID)
            growing.until(6.0)
            page.wait_for_function("() => document.getElementById('log-lines').textContent.includes('so far 6')")
            page.wait_for_function("() => document.getElementById('model-table').textContent.includes('v10')")
            assert page.evaluate(SAID) != first
            growing.record("running", "measure", warnings=[])
            growing.store.add("events", [(6.5, "fog-0", "detector-0", "restarted", "attempt 1 of 5 after exit status 3")])
            growing.until(7.0)
            page.wait_for_function("() => document.getElementById('alerts').textContent.includes('detector-0 was restarted once')")
            growing.end()
            page.wait_for_function("() => document.getElementById('run-status').textContent === 'done'")


def test_a_page_of_a_foreign_folder_reaches_nothing(browser: Any, server: Served, root: Path) -> None:
    study = root / "studies" / "placements"
    told = "() => { document.title = 'leaked'; }, () => { document.title = 'kept'; }"
    tries = f"fetch('/api/list', {{credentials: 'include'}}).then({told});"
    (study / "evil.html").write_text(f"<!doctype html><title>x</title><script>{tries}</script>")
    try:
        with visit(browser, server) as seen:
            number = sorted(path.name for path in study.glob("*.html")).index("evil.html")
            seen.page.goto(f"{server.origin}/study/{key_of(study)}/pages/{number}")
            seen.page.wait_for_function("() => document.title !== 'x'")
            assert seen.page.title() == "kept"
            assert seen.page.evaluate("location.origin") == server.origin
            assert seen.page.evaluate("origin") == "null"
            seen.complaints.clear()  # of the policy, as it should
    finally:
        (study / "evil.html").unlink()

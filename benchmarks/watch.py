"""How fast the live page answers with many runs: `python benchmarks/watch.py [RUNS]`.

Every view is timed over HTTP from a server in this process, cold (the first look) and warm, with the processor time of both sides,
and, where Chromium is installed, in the browser from the address to the painted page, beside an empty page of the same server, and
from frame to frame while something moves. Beside it: what merely reading all `run.json` and `responses.json` takes. On a machine
that does other things too, processor time and ratios are what to believe.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from estran.web.index import key_of
from tests.report.conftest import ARGUMENTS, CHROMIUM
from tests.report.synthetic import Scene, write_run
from tests.web.served import Served, served

TIMES = 7


def timed(work: Callable[[], Any], times: int = TIMES) -> list[float]:
    """Milliseconds of some calls, one after the other."""
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        spent.append(1e3 * (time.perf_counter() - begun))
    return spent


def many(root: Path, runs: int) -> Path:
    """One whole run, so many copies of its documents, and a study of as many rows."""
    whole = write_run(root / "runs" / "visual-inspection" / "whole", Scene(cameras=4))
    document, responses = json.loads((whole / "run.json").read_text()), (whole / "responses.json").read_text()
    places = [root / "runs" / f"experiment-{i % 7}" / f"20261128-{i:06d}-abcd" for i in range(runs)]
    study = root / "studies" / "large"
    places += [study / "runs" / f"{i + 1:04d}-1" for i in range(runs)]
    for i, place in enumerate(places):
        place.mkdir(parents=True)
        (place / "run.json").write_text(json.dumps(document | {"id": place.name, "seed": i, "experiment": place.parent.name}))
        (place / "responses.json").write_text(responses)
        shutil.copy(whole / "assignment.json", place)
    asked = {
        "experiment": "large", "file": "x", "digest": "0", "on": "simulate", "calibration": None, "overrides": [], "design": "full",
        "samples": None, "replicates": 1, "seed": 1, "retries": 1, "factors": {"rate": [1, 2]}, "schema": 1,
    }  # fmt: skip
    (study / "study.json").write_text(json.dumps(asked))
    lines = "".join(f"{i + 1},1,{i % 2 + 1},{i},{i % 2 + 1}\n" for i in range(runs))
    (study / "design.csv").write_text("run,block,point,seed,rate\n" + lines)
    return whole


def over_http(one: Served, views: dict[str, str]) -> None:
    """First and further answers of the server."""
    print(f"{'answer':34} {'first':>9} {'median':>9} {'most':>9} {'cpu':>9} {'size':>9}")
    for name, path in views.items():
        first = timed(lambda p=path: one.ask(p), 1)[0]
        begun = time.process_time()
        spent = timed(lambda p=path: one.ask(p))
        cpu = 1e3 * (time.process_time() - begun) / TIMES
        size = len(one.ask(path).body)
        figures = " ".join(f"{value:6.0f} ms" for value in (first, statistics.median(spent), max(spent), cpu))
        print(f"{name:34} {figures} {size / 1e3:6.0f} kB")


READY = """() => new Promise((done) => {
  const painted = () => requestAnimationFrame(() => setTimeout(() => done(performance.now())));
  const over = () => document.body && (document.body.dataset.ready || !document.querySelector('script'));
  const look = () => (over() ? painted() : requestAnimationFrame(look));
  look(); })"""
FRAMES = """(work) => new Promise((done) => {
  const step = new Function("i", work), spent = [];
  let last = performance.now(), i = 0;
  const frame = () => {
    const now = performance.now();
    spent.push(now - last);
    last = now;
    step(i);
    if (++i < 90) requestAnimationFrame(frame);
    else done(spent.slice(5).sort((a, b) => a - b));
  };
  requestAnimationFrame(frame); })"""
EMPTY = "an empty page"


def in_browser(one: Served, views: dict[str, str]) -> None:
    """From the address to the painted page, beside an empty page of the same server; then frames of what moves."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, env={"HOME": home})
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        name, _, value = one.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": one.origin}])
        page = context.new_page()
        tools = context.new_cdp_session(page)
        tools.send("Performance.enable")

        def visit(path: str) -> tuple[float, float]:
            """Milliseconds until it is painted, and of the renderer's processor time."""
            page.goto(one.origin + path, wait_until="commit")
            spent = float(page.evaluate(READY))
            counts = {count["name"]: count["value"] for count in tools.send("Performance.getMetrics")["metrics"]}
            return spent, 1e3 * counts["TaskDuration"]

        print(f"\n{'page, painted':34} {'first':>9} {'median':>9} {'most':>9} {'cpu':>9} {'to empty':>9}")
        empty = 0.0
        for title, path in {EMPTY: "/enter?token=x", **views}.items():
            found = [visit(path) for _ in range(TIMES)]
            spent, cpu = [ms for ms, _ in found], statistics.median(ms for _, ms in found[1:])
            middle = statistics.median(spent[1:])
            empty = empty or middle
            print(f"{title:34} {spent[0]:6.0f} ms {middle:6.0f} ms {max(spent[1:]):6.0f} ms {cpu:6.0f} ms {middle / empty:8.1f}x")
        visit("/")
        sort = "document.querySelector('#run-table th:nth-child(4) button').click()"
        find = (
            "const field = document.getElementById('find'); field.value = field.value ? '' : 'experiment-3'; "
            "field.dispatchEvent(new Event('input'))"
        )
        scroll = "document.querySelector('#run-table .tall').scrollTop = 200 * i"
        print(f"\n{'frames while':34} {'median':>9} {'95 %':>9}")
        for title, work in (
            ("nothing moves", ""),
            ("sorting the runs", sort),
            ("finding among them", find),
            ("scrolling them", scroll),
        ):
            frames(page, title, work)
        visit(views["a run"])
        page.evaluate("document.querySelector('[data-chart]').scrollIntoView()")
        page.wait_for_selector("[data-chart] canvas")
        page.evaluate(SERIES)
        frames(page, "zooming six series of 10,000", "series.setScale('x', {min: 20 * i, max: 10000 - 20 * i})")
        frames(page, "new data for them", "series.setData(data)")
        browser.close()


SERIES = """() => {
  const x = Array.from({length: 10000}, (_, i) => i);
  globalThis.data = [x, ...Array.from({length: 6}, (_, k) => x.map((i) => Math.sin(i / 300 + k) + Math.random()))];
  const place = document.createElement("div");
  document.getElementById("chart-list").prepend(place);
  const lines = data.slice(1).map((y, k) => ({ label: String(k), role: "main", y, dash: [] }));
  globalThis.series = estranPlot.make({ x, series: lines, xunit: "s", unit: "s", zero: false }, place).plot;
  place.scrollIntoView(); }"""


def frames(page: Any, title: str, work: str) -> None:
    """Milliseconds from frame to frame while something is done in each."""
    spent = page.evaluate(FRAMES, work)
    print(f"{title:34} {statistics.median(spent):6.0f} ms {spent[int(0.95 * len(spent))]:6.0f} ms")


def main() -> None:
    """Print the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        whole = many(root, runs)
        print(f"{runs} runs and a study of {runs}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        paths = [*root.rglob("run.json"), *root.rglob("responses.json")]
        reading = timed(lambda: [json.loads(path.read_bytes()) for path in paths], 3)
        print(f"reading {len(paths)} documents as JSON: {min(reading):.0f} ms\n")
        run, study = key_of(whole), key_of(root / "studies" / "large")
        others = [key_of(root / "runs" / f"experiment-{i}" / f"20261128-{i:06d}-abcd") for i in range(4)]
        compared = f"of={run}&" + "&".join(f"of={key}" for key in others)
        with served([root]) as one:
            one.enter()
            over_http(one, {
                "runs and studies": "/api/list", "a study": f"/api/study/{study}", "a run: topology": f"/api/run/{run}/drawing",
                "a run: all figures": f"/api/run/{run}/stream", "a run: charts of a part": f"/api/run/{run}/charts?start=5&end=9",
                "a run: at a moment": f"/api/run/{run}/moment?at=10",
                "a run: logs": f"/api/run/{run}/logs", "five runs compared": f"/api/compare?{compared}", "Prometheus": "/metrics",
            })  # fmt: skip
            if CHROMIUM.exists():
                pages = {
                    "runs and studies": "/",
                    "a study": f"/study/{study}",
                    "a run": f"/run/{run}",
                    "five runs compared": f"/compare?{compared}",
                }
                in_browser(one, pages)


if __name__ == "__main__":
    main()

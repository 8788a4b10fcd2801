"""How fast the live page answers with many runs: `python benchmarks/watch.py [RUNS]`.

Every view is timed over HTTP from a server in this process, cold (the first look) and warm, with the processor time of both sides,
and, where Chromium is installed, in the browser from the address to the drawn page. Beside it: what merely reading all `run.json`
and `responses.json` takes. On a machine that does other things too, processor time is what to believe.
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


def in_browser(one: Served, views: dict[str, str]) -> None:
    """From the address to the drawn page, and from a click on a heading to the sorted table."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, env={"HOME": home})
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        name, _, value = one.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": one.origin}])
        page = context.new_page()
        ready = """() => new Promise((done) => {
          const look = () => document.body.dataset.ready ? done(performance.now()) : requestAnimationFrame(look);
          look(); })"""
        print(f"\n{'page':34} {'first':>9} {'median':>9} {'most':>9}")
        for title, path in views.items():
            spent = []
            for _ in range(TIMES):
                page.goto(one.origin + path)
                spent.append(float(page.evaluate(ready)))
            print(f"{title:34} {spent[0]:6.0f} ms {statistics.median(spent[1:]):6.0f} ms {max(spent[1:]):6.0f} ms")
        page.goto(one.origin + "/")
        page.evaluate(ready)
        sort = """() => new Promise((done) => { const begun = performance.now();
          document.querySelector("#run-table th:nth-child(4) button").click();
          requestAnimationFrame(() => done(performance.now() - begun)); })"""
        find = """() => new Promise((done) => { const begun = performance.now(); const field = document.getElementById("find");
          field.value = field.value === "experiment-3" ? "" : "experiment-3"; field.dispatchEvent(new Event("input"));
          requestAnimationFrame(() => done(performance.now() - begun)); })"""
        for title, code in (("sorting the runs", sort), ("finding among the runs", find)):
            spent = [float(page.evaluate(code)) for _ in range(TIMES)]
            print(f"{title:34} {spent[0]:6.0f} ms {statistics.median(spent[1:]):6.0f} ms {max(spent[1:]):6.0f} ms")
        browser.close()


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

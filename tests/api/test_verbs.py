"""The verbs as functions: in a notebook's running event loop, in a plain script, and when they fail or are interrupted."""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")
pytest.importorskip("optuna", reason="optimising needs optuna: pip install 'estran[optimize]'")

import estran
from estran.errors import RequestError, SpecErrors
from estran.run.prepare import prepare

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebooks" / "study.ipynb"
EXPERIMENT = """
experiment: planted
layers:
  edge: {hosts: 1, device: raspberry-pi-4}
  fog: {hosts: 1, device: jetson-orin-nano}
network:
  - {between: [edge, fog], delay: "${delay}", rate: 100mbit}
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 40/s}}
  detector: {on: fog, component: predictor, costs: {predict: 1ms}}
  trainer: {on: fog, component: trainer, costs: {learn: 1ms}}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples]}
  - {from: trainer.models, to: detector.models, delivery: latest}
factors:
  delay: [20ms, 5ms]
measure: {warmup: 1s, duration: 3s}
"""


class Parts(HTMLParser):
    """Tags and words of what a notebook shows; everything is closed that was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture(scope="module")
def names(file: Path) -> dict[str, Any]:
    """What the notebook's cells leave, and show, executed in a running event loop as a kernel does."""
    notebook: Any = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    found: dict[str, Any] = {}

    async def execute() -> None:
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                exec("".join(cell["source"]), found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPERIMENT", str(file))
        patch.chdir(file.parent)
        asyncio.run(execute())
    return found


def test_the_notebook_says_what_drives_latency(names: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    run, study = names["run"], names["study"]
    assert (run.status, run.seed, dict(run.levels), run.failure) == ("done", 7, {"delay": "20ms"}, None)
    assert 0.020 < run.responses["latency"].low <= run.responses["latency"].value <= run.responses["latency"].high < 0.030
    assert run.messages().filter("receiver = 'detector-0'").aggregate("count(*)").fetchall()[0][0] > 100
    assert run.metrics().aggregate("count(*)").fetchall()[0][0] > 0
    assert run.report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run.log("camera-0") == []
    assert study.runs.aggregate("count(*)").fetchall() == [(4,)]
    assert study.failures == {}
    assert study.run(1).status == "done"
    with pytest.raises(RequestError, match="no run 9"):
        study.run(9)
    effects = names["found"].responses["latency"].effects
    assert (effects[0].term, effects[0].found) == ("delay", True)
    assert names["found"].page.name == "explain.html"
    assert names["best"].recommended == {"delay": "5ms"}
    assert names["best"].study().runs.aggregate("count(*)").fetchall() == [(4,)]
    assert {one.levels["delay"] for one in names["best"].front} == {"5ms"}


def test_records_have_the_command_that_asks_for_the_same(names: dict[str, Any], file: Path) -> None:
    manifest = json.loads((file.parent / names["run"].path / "manifest.json").read_text())
    assert manifest["command"] == ["estran", "run", str(file), "--seed", "7", "--on", "simulate"]


def test_cells_show_what_they_hold(names: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    shown = {name: Parts(names[name]._repr_html_()) for name in ("experiment", "run", "study", "found", "best")}
    assert {"svg", "table"} <= shown["experiment"].tags & shown["run"].tags
    for name, words in {
        "experiment": ("edge-0", "20ms, 5ms"),
        "run": ("done", "latency", " to "),
        "study": ("4 of 4 runs done", "20ms", " to "),
        "found": ("delay explains", "< 0.001"),
        "best": ("recommended", "5ms"),
    }.items():
        text = " ".join(shown[name].words)
        assert all(word in text for word in words), text
        assert "script" not in shown[name].tags


def test_what_is_opened_again_is_the_same(names: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert estran.open_run(names["run"].path).responses == names["run"].responses
    again = estran.open_study(names["study"].path)
    assert (repr(again), again.factors) == (repr(names["study"]), {"delay": ("20ms", "5ms")})
    explained = estran.explain(names["study"].path, what_if={"delay": "5ms"})
    assert explained.plain()["predictions"]
    with pytest.raises(RequestError, match="no run folder"):
        estran.open_run(file.parent)


def test_names_that_packages_have_are_functions_whatever_is_imported_first() -> None:
    assert prepare.__module__ == "estran.run.prepare"
    code = (
        "import estran, inspect; from estran.run.prepare import prepare; import estran.study.study as module;"
        "from estran import run, study, explain, optimize;"
        "print(*[list(inspect.signature(one).parameters)[0] for one in (run, study, explain, optimize)], module.begin.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["experiment", "experiment", "study", "experiment", "begin"]
    assert "set" in inspect.signature(estran.run).parameters
    assert set(dir(estran)) == set(estran.__all__)
    for name in estran.__all__:
        assert getattr(estran, name)


def test_importing_estran_loads_nothing_heavy() -> None:
    code = "import sys, estran; print(sorted({'numpy', 'duckdb', 'scipy', 'asyncio', 'msgspec', 'estran.api'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_wrong_request_says_where_it_is_wrong(file: Path) -> None:
    with pytest.raises(SpecErrors, match=r"network.0.delay"):
        estran.load(file, set={"network.0.delay": "fast"})
    with pytest.raises(RequestError, match="no such file"):
        estran.load(file.parent / "nothing.yaml")
    with pytest.raises(RequestError, match="has no meaning on emulate"):
        estran.run(file, detail="flow")
    with pytest.raises(RequestError, match="is text"):
        estran.load(file, set="delay=5ms")  # type: ignore[arg-type]


def test_what_is_set_for_a_verb_comes_beside_what_was_set_before(file: Path, tmp_path: Path) -> None:
    loaded = estran.load(file, set=["measure.duration=1s"], seed=5)
    made = estran.run(loaded, on="simulate", set={"delay": "5ms"}, out=tmp_path)
    document = (made.path / "experiment.yaml").read_text()
    assert (made.seed, made.levels["delay"], "duration: 1s" in document) == (5, "5ms", True)


def test_a_run_that_fails_raises_and_has_a_folder(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "experiment.yaml"
    broken.write_text(EXPERIMENT.replace("data: digits", "data: nothing.npz"))
    with pytest.raises(estran.EstranError) as caught:
        estran.run(broken, on="simulate", out=tmp_path)
    assert isinstance(caught.value, estran.RunFailedError)
    assert caught.value.run.status == "failed"
    assert "camera-0" in str(caught.value)
    assert "Failed in" in " ".join(Parts(caught.value.run._repr_html_()).words)


async def test_ctrl_c_ends_a_run_in_good_order_beside_a_running_loop(file: Path, tmp_path: Path) -> None:
    class Interrupting:
        """Sends what Ctrl-C sends, as soon as simulated time goes on."""

        sent = False

        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

        def moment(self, seconds: float) -> None:
            if not self.sent:
                self.sent = True
                signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match="what it measured is in"):
            estran.run(file, on="simulate", set={"measure.duration": "100000s"}, out=tmp_path, progress=Interrupting())
    finally:
        signal.signal(signal.SIGINT, before)
    (folder,) = (tmp_path / "planted").iterdir()
    assert estran.open_run(folder).status == "interrupted"


def test_the_reference_has_every_function_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    for name in ("load", "run", "study", "explain", "optimize", "open_run", "open_study"):
        parameters = inspect.signature(getattr(estran, name)).parameters.values()
        words = [str(one.replace(annotation=inspect.Parameter.empty)) for one in parameters]
        first = next((i for i, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY), None)
        if first is not None:
            words.insert(first, "*")
        assert f"`estran.{name}({', '.join(words)})`".replace("'", '"') in page

"""An optimisation that was really made, from its folder to its page: figures, roles, reasons, effects, trust."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estran.optimize.folder import Folder
from estran.optimize.loop import Unwatched
from estran.optimize.optimize import Request, begin, conclude, conduct
from estran.report.optimum.effects import effects
from estran.report.optimum.gather import _points, command, optimum, sentence
from estran.report.optimum.reading import told, write
from estran.report.optimum.view import Optimum
from estran.study.factors import Factor

QUICK = """
experiment: quick
seed: 5
layers: {edge: {hosts: 2, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: "${delay}", rate: 20mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, rate: "${rate}"}}
  archive: {on: cloud, component: sink}
streams: [{from: camera.samples, to: archive.messages}]
factors:
  delay: {from: 5ms, to: 80ms, scale: log, default: 40ms}
  rate: [10/s, 20/s, 40/s]
measure: {warmup: 0.2s, duration: 1s}
"""


def optimised(folder: Path, fidelities: Sequence[str] = (), **more: Any) -> Folder:
    """Lower the latency and raise the throughput of a quick experiment, within some bytes."""
    file = folder / "experiment.yaml"
    file.write_text(QUICK)
    goals: dict[str, Any] = {"minimize": ("latency",), "maximize": ("throughput",), "subject_to": ("bytes_sent<=20MB",)}
    request = Request(
        str(file), on="simulate", calibration="none", fidelities=tuple(fidelities) or None, seed=5, **{**goals, **more}
    )
    made = begin(request, out=folder / "studies")
    conduct(made, jobs=1, watcher=Unwatched(), command=["estran"])
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    pytest.importorskip("optuna")
    return optimised(tmp_path_factory.mktemp("two"), trials=12, replicates=2)


@pytest.fixture(scope="module")
def seen(made: Folder) -> Optimum:
    return told(made, conclude(made))


def test_points_have_the_figures_of_their_runs_and_one_is_recommended(made: Folder, seen: Optimum) -> None:
    assert [one.role for one in seen.points].count("best") == 1
    assert seen.points[0].number == 0
    assert sum(sum(one.runs.values()) for one in seen.points) == 12 == len(seen.trials)
    trials = {trial.ask.number: trial.told for trial in made.trials()}
    for one in seen.points:
        rows = [trials[made_one.number] for made_one in seen.trials if made_one.point == one.number]
        mean = sum(row.responses["latency"] for row in rows if row) / len(rows)
        assert one.figures["latency"].mean == pytest.approx(mean)
        assert set(one.figures) == {"latency", "throughput", "bytes_sent"}
        assert one.seconds == pytest.approx(sum(row.seconds for row in rows if row))


def test_what_is_asked_has_units_and_the_limit(seen: Optimum) -> None:
    assert {one.response: (one.unit, one.minimize, one.limit) for one in seen.asked} == {
        "latency": ("s", True, ""),
        "throughput": ("/s", False, ""),
        "bytes_sent": ("B", None, "bytes_sent<=20MB"),
    }


def test_progress_never_goes_back_in_time_and_reasons_are_words(seen: Optimum) -> None:
    times = [at for at, _ in seen.progress.steps]
    assert times == sorted(times)
    assert len(times) == 12
    assert seen.trials[0].what == "the default of every factor"
    assert "a new point" in {one.what for one in seen.trials}


def test_effects_are_those_of_explain(made: Folder) -> None:
    found = effects(made.path / "simulate", ["latency", "throughput", "nothing"], 0)
    assert [one.explanation.response for one in found.answers] == ["latency", "throughput"]
    assert found.answers[0].explanation.effects[0].term == "delay"
    assert found.answers[1].explanation.effects[0].term == "rate"
    assert found.why == ("Nothing can be said of what drives nothing: no run measured 'nothing'.",)


def test_the_page_lies_in_the_folder_and_links_what_is_recommended(made: Folder) -> None:
    _, page = write(made, conclude(made))
    assert page == made.path / "optimize.html"
    written = page.read_text()
    assert 'href="recommended.yaml"' in written
    assert (made.path / "recommended.yaml").exists()
    assert "Share of the variance of latency" in written


def test_the_command_makes_it_again(made: Folder) -> None:
    words = command(made)
    for part in ("--minimize latency", "--maximize throughput", "--subject-to 'bytes_sent<=20MB'", "--trials 12", "--seed 5"):
        assert part in words


def test_verbs_show_and_report_it(made: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    from estran.cli.look import report, show

    assert show(str(made.path)) == 0
    assert "→ best" in capsys.readouterr().out
    assert show(str(made.path), json=True) == 0
    assert json.loads(capsys.readouterr().out)["recommended"] is not None
    report(str(made.path))
    assert capsys.readouterr().out.strip() == str(made.path / "optimize.html")


def test_a_single_goal_tells_the_best_so_far(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    made = optimised(tmp_path, trials=4, replicates=1, maximize=(), subject_to=())
    values = [value for _, value in told(made, conclude(made)).progress.steps]
    assert values == sorted(values, reverse=True)
    assert values[-1] == min(made.trials()[number].told.responses["latency"] for number in range(4))  # type: ignore[union-attr]


def test_trust_is_told_with_its_fidelity_and_not_again_among_what_to_mind(made: Folder) -> None:
    found = replace(conclude(made), notes=("simulate is believed", "few runs"))
    shown = optimum(made, made.trials(), found, {"simulate": ["simulate is believed"]})
    assert shown.spent[-1].trust == "simulate is believed."
    assert shown.minding == ("Few runs.",)


def test_sentences_keep_the_names_of_responses() -> None:
    assert sentence("latency 2s → 1s", ["latency"]) == "latency 2s → 1s."
    assert sentence("nothing is better") == "Nothing is better."


def test_points_of_a_space_are_counted_once_where_a_condition_makes_them_alike() -> None:
    place = Factor("place", ("edge", "fog"))
    pool = Factor("pool", (1, 4, 8), when={"place": ("fog",)})
    assert _points((place, pool)) == 4
    assert _points((Factor("wide", tuple(range(200))), Factor("long", tuple(range(200))))) is None

"""The index: names, facts, settings, and what it says of components that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.components.index import Components
from estran.errors import RequestError, SpecErrors
from estran.runtime.component import shape
from estran.spec import load_text

OWN = """
from __future__ import annotations
from dataclasses import dataclass
from estran.components.messages import Samples
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output
from estran.units import Duration

@dataclass(frozen=True)
class Settings:
    pause: Duration = 1.0

class Thinner(Component):
    '''Lets every other sample pass.'''
    settings: Settings
    samples: Input[Samples]
    fewer: Output[Samples]

class Stray(Component):
    samples: Input[Sampels]

number = 3
"""


@pytest.fixture
def index(tmp_path: Path) -> Components:
    (tmp_path / "own_parts.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "broken_part.py").write_text("class Broken(:", encoding="utf-8")
    return Components(tmp_path)


def test_the_built_in_components_are_there(index: Components) -> None:
    assert {"source", "trainer", "predictor", "sink"} <= set(index.names())
    for name in ("source", "trainer", "predictor", "sink"):
        facts = index.describe(name)
        assert facts.summary
        assert facts.metrics
        assert facts.settings["type"] == "object"


def test_ports_fit_by_type(index: Components) -> None:
    source, trainer, predictor = (index.describe(name) for name in ("source", "trainer", "predictor"))
    assert source.outputs["samples"] == trainer.inputs["samples"] == predictor.inputs["samples"]
    assert trainer.outputs["models"] == predictor.inputs["models"] != trainer.inputs["samples"]
    assert index.describe("sink").inputs == {"messages": ""}


def test_a_users_component_is_found_beside_the_file(index: Components) -> None:
    facts = index.describe("own_parts:Thinner")
    assert facts.summary == "Lets every other sample pass."
    assert facts.inputs == {"samples": index.describe("source").outputs["samples"]}
    assert facts.metrics is None
    assert facts.validate({"pause": "20ms"}) == ({"pause": 0.02}, [])
    assert index.path("own_parts:Thinner") == "own_parts:Thinner"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sorce", "did you mean source"),
        ("nowhere:Thing", "write nowhere.py beside"),
        ("own_parts:Thiner", "Thiner"),
        ("own_parts:number", "not a component"),
        ("own_parts:Stray", "Sampels"),
        ("broken_part:Broken", "mend the module"),
    ],
)
def test_a_wrong_component_is_told(index: Components, name: str, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        index.describe(name)
    assert text in str(raised.value)


@pytest.mark.parametrize("name", ["source", "trainer", "predictor", "sink"])
def test_required_ports_exist(index: Components, name: str) -> None:
    component = index.find(name)
    form = shape(component)
    assert component.REQUIRED
    assert set(component.REQUIRED) <= {*form.inputs, *form.outputs}


def test_settings_are_read_with_units_and_faults_have_places(index: Components) -> None:
    source = index.describe("source")
    given = {"rate": "50/s", "arrivals": {"kind": "bursty", "on": "500ms"}, "drift": [{"at": "5s"}], "data": {"file": "a.csv"}}
    settings, faults = source.validate(given)
    assert not faults
    assert settings == {"rate": 50.0, "arrivals": {"kind": "bursty", "on": 0.5}, "drift": [{"at": 5.0}], "data": {"file": "a.csv"}}
    for wrong, path, text in (
        ({"rate": "50ms"}, ("rate",), "50ms"),
        ({"data": "digitz"}, (), "did you mean digits"),
        ({"order": "class-incremental", "drft": []}, ("drft",), "drift"),
        ({"drift": [{"at": "5s", "schedule": "gradual"}]}, ("drift", 0), "needs over"),
        ({"arrivals": "poisson"}, (), "need a rate"),
        ({"batch": 0}, (), "batch is 0"),
    ):
        _, faults = source.validate(wrong)
        assert len(faults) == 1
        assert faults[0][0][: len(path)] == path
        assert text in faults[0][1]


def test_a_learners_settings_are_checked_before_anything_runs(index: Components) -> None:
    _, faults = index.describe("trainer").validate({"learner": {"mlp": {"hiden": [3]}}})
    assert len(faults) == 1
    assert "learner mlp" in faults[0][1]
    assert "hidden" in faults[0][1]


def test_a_value_that_ones_own_learner_refuses_is_told_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "ownrange.py").write_text(
        "class Mine:\n"
        "    def __init__(self, features, classes, rng, *, rate=0.1):\n"
        "        if rate > 1:\n"
        "            raise ValueError('rate is above 1')\n"
    )
    text = """\
experiment: x
layers: {edge: {hosts: 1, device: laptop}}
services:
  camera: {on: edge, component: source, with: {data: digits}}
  trainer: {on: edge, component: trainer, with: {learner: {"ownrange:Mine": {rate: 5}}}}
streams: [{from: camera.samples, to: trainer.samples}]
"""
    load_text(text.replace("rate: 5", "rate: 0.5"), components=Components(tmp_path))
    with pytest.raises(SpecErrors) as caught:
        load_text(text, source="x.yaml", components=Components(tmp_path))
    (error,) = caught.value.errors
    assert str(error.where).startswith("x.yaml:5:")
    assert "rate is above 1" in error.what

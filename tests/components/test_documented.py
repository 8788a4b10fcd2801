"""The settings that the reference page shows are settings that the components take."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from estran.components.index import Components
from estran.components.surrogate_settings import NetworkSettings, ReservoirSettings, SteeringSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "components.md"
SECTIONS = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", sorted(Components().names()))
def test_every_setting_is_documented(name: str) -> None:
    for setting in Components().describe(name).settings["properties"]:
        assert f"`{setting}`" in SECTIONS[name] or f"`{setting}:" in SECTIONS[name]


@pytest.mark.parametrize(("key", "kept"), [("data", {}), ("order", {}), ("arrivals", {"rate": "5/s"}), ("drift", {})])
def test_the_maps_shown_are_taken(key: str, kept: dict[str, str]) -> None:
    paragraph = SECTIONS["source"].split(f"**{key}**", 1)[1].split("\n**", 1)[0]
    shown = [YAML(typ="safe").load(text) for text in re.findall(r"`(\{.*?\})`", paragraph)]
    assert shown
    for value in shown:
        _, faults = Components().describe("source").validate({**kept, key: [value] if key == "drift" else value})
        assert not faults


def test_the_samplers_shown_are_taken() -> None:
    shown = re.findall(r"`(\{kind: .*?\})`", SECTIONS["simulation"].replace("\n", " "))
    assert len(shown) == 3
    for text in shown:
        settings = {"parameters": {"x": [0, 1]}, "steps": 1, "program": "run {x}", "sampler": YAML(typ="safe").load(text)}
        assert not Components().describe("simulation").validate(settings)[1]


@pytest.mark.parametrize("key", ["network", "reservoir", "steering"])
def test_the_maps_of_a_surrogate_are_its_defaults(key: str) -> None:
    text = re.search(rf"(?:`{key}` \| |\*\*{key}\*\*: )`(\{{.*?\}})`", SECTIONS["surrogate"])
    assert text is not None
    given = {key: YAML(typ="safe").load(text[1])}
    taken, faults = Components().describe("surrogate").validate(given | ({"network": {"members": 2}} if key == "steering" else {}))
    assert not faults
    made = {"network": NetworkSettings, "reservoir": ReservoirSettings, "steering": SteeringSettings}[key]()
    assert taken[key] == {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(made).items()}

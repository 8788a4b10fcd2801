from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from estran.spec import json_schema, load_text
from tests.spec.test_faults import BASE, EVERY

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "experiment-file.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
WHOLE = [block for block in BLOCKS if block.startswith("experiment:")]


def messages(document: object, schema: dict | None = None) -> list[str]:
    return [error.message for error in Draft202012Validator(schema or json_schema()).iter_errors(document)]


def read(text: str) -> object:
    return YAML(typ="safe", pure=True).load(text)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_example_fits(example, index) -> None:
    assert messages(read(example)) == []
    assert messages(read(example), json_schema(index)) == []
    assert messages(load_text(example).document) == []


def test_the_page_has_examples() -> None:
    assert len(WHOLE) >= 3


@pytest.mark.parametrize("block", WHOLE, ids=[block.splitlines()[0] for block in WHOLE])
def test_every_example_of_the_page_loads_and_fits(block) -> None:
    load_text(block)
    assert messages(read(block)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hosts: 4", "hosts: -2"),
        ("hosts: 4", "hostz: 4"),
        ("delay: 5ms", "delay: fast"),
        ("rate: 100mbit", "rate: 0"),
        ("rate: 100mbit", "rate: 12MB/s"),
        ("delivery: latest", "delivery: newest"),
        ("seed: 42", "sed: 42"),
        ("camera.samples", "camera"),
        ("duration: 20s", "duration: 20"),
    ],
)
def test_wrong_files_do_not_fit(example, old, new) -> None:
    assert messages(read(example.replace(old, new, 1)))


def test_settings_of_known_components_are_checked(example, index) -> None:
    wrong = example.replace("order: class-incremental", "ordr: shuffled")
    assert messages(read(wrong)) == []
    assert messages(read(wrong), json_schema(index))


def test_every_field_is_described_and_the_catalogue_is_named() -> None:
    schema = json_schema()
    for name, shape in [("", schema), *schema["$defs"].items()]:
        for key, field in shape.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"
    assert "raspberry-pi-4" in str(schema["$defs"]["LayerEntry"]["properties"]["device"])
    assert "wifi-5" in str(schema["$defs"]["NetworkEntry"]["properties"]["link"])


def test_faults_of_every_kind_fit() -> None:
    text = BASE + EVERY + "  z: {kill: camera, at: 19s, for: none}\n"
    load_text(text)
    assert messages(read(text)) == []
    assert messages(read(text.replace("speed: 0.5", "speed: 2"))) != []

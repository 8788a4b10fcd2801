"""Each dialect reads as it was meant; whatever else is in a file, the errors are ours, each with a line."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from estran.errors import SpecErrors, Where
from estran.spec.classic import plain
from estran.spec.document import dump
from estran.spec.e2clab import read_scenario
from estran.spec.e2clab.page import read_page
from estran.spec.e2clab.scenario import selected

from .scenarios import DIALECTS, FIRST, SECOND, THIRD, read, write


def test_the_first_dialect(tmp_path: Path) -> None:
    scenario = read(tmp_path, FIRST)
    assert scenario.job_name == "cctv"
    assert scenario.testbeds["iotlab"].settings == {"job_name": "cctv", "walltime": "02:00:00", "cluster": "grenoble"}
    assert [machine.key for machine in scenario.machines()] == [
        "cloud.server.1.1", "edge.client.1.1", "edge.producer.2.1", "edge.client.3.1", "edge.client.4.1", "edge.client.5.1",
    ]  # fmt: skip
    assert [service.testbed for service in scenario.services] == ["g5k", "g5k", "iotlab", "g5k", "g5k", "g5k"]
    assert scenario.services[0].metadata["port"] == 8080
    assert [manager.kind for manager in scenario.managers] == ["tig"]
    (rule,) = scenario.network
    assert (rule.link.delay, rule.link.rate, rule.link.loss, rule.symmetric) == (0.092, 1e10, 0.02, False)
    assert len(selected(scenario, scenario.plays[0].selector)) == 6
    assert scenario.plays[1].stages["launch"][0].data["become"] is True
    (dependency,) = scenario.plays[2].depends_on
    assert (dependency.grouping, dependency.prefix) == ("round_robin", "server")
    assert [note.what for note in scenario.notes] == [
        "a loss of 2 is 2%, as tc reads it", "no grouping is given: round_robin, as the first releases had it",
    ]  # fmt: skip


def test_the_oldest_form_of_the_environment(tmp_path: Path) -> None:
    old = FIRST["layers_services.yaml"].replace(
        "environment:\n  job_name: cctv\n  walltime: 02:00:00\n  g5k:", "environment: g5k\njob_name: cctv\ng5k:"
    )
    old = old.replace('    job_type: ["allow_classic_ssh"]\n    cluster: parasilo\n  iotlab:\n', "    cluster: parasilo\niotlab:\n")
    scenario = read(tmp_path, FIRST, layers_services=old)
    assert scenario.testbeds["g5k"].settings == {"job_name": "cctv", "cluster": "parasilo"}


def test_the_second_dialect(tmp_path: Path) -> None:
    scenario = read(tmp_path, SECOND)
    assert len(selected(scenario, "monitoring")) == 4
    assert [machine.host for machine in selected(scenario, "edge")] == ["edge-0", "edge-1", "edge-2"]
    assert scenario.services[1].env == {"batch": 32}
    assert scenario.configurations == {"short": {"rounds": 3, "name": "a"}, "long": {"rounds": 300, "name": "b"}}
    copying = scenario.plays[0].stages["prepare"][0].data["copy"]
    assert copying["mode"] == 0o644
    assert scenario.plays[0].stages["finalize"][0].data["fetch"]["validate_checksum"] is False
    assert scenario.network[0].symmetric


def test_the_third_dialect(tmp_path: Path) -> None:
    scenario = read(tmp_path, THIRD)
    assert scenario.network == ()
    assert scenario.testbeds["g5k"].settings["cluster"] == "paradoxe"
    assert {manager.name for manager in scenario.managers} == {"monitoring", "kwollect"}
    play = scenario.plays[0]
    assert play.keywords == {"vars": {"port": 9000}}
    assert play.stages["launch"][0].where == Where(str(tmp_path / "workflow.yaml"), 8, 7)
    assert play.stages["launch"][0].name == "start the gateway"


def test_yaml_is_read_as_ansible_reads_it(tmp_path: Path) -> None:
    """PyYAML's reading of scalars, as its documentation of YAML 1.1 and its resolver have it."""
    expected: dict[str, Any] = {
        "yes": True, "No": False, "on": True, "OFF": False, "y": "y", "0644": 420, "0o644": "0o644", "08": "08", "1_000": 1000,
        "1:30": 90, "01:00:00": "01:00:00", "1:00:00": 3600, "1e3": "1e3", "1.0e+3": 1000.0, "-.5": "-.5", ".5": 0.5, "0x1F": 31,
        "~": None, "2024-01-01": "2024-01-01", "+1": 1, "-0b11": -3, "1.5": 1.5,
        "''": "", "'yes'": "yes",
        "!unsafe '{{ x }}'": "{% raw %}{{ x }}{% endraw %}", "!unsafe x": "x",
    }  # fmt: skip
    (tmp_path / "f.yaml").write_text("".join(f"- {text}\n" for text in expected))
    page = read_page(tmp_path / "f.yaml")
    assert page.complaints.errors == []
    assert page.data == list(expected.values())
    assert plain("") is None


SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 10**6), st.floats(allow_nan=False), st.text("abc.*:[]{}~ ,!&%", max_size=8),
        st.sampled_from(["cloud", "edge.*", "~(", "a[9]", "10ms", "5%", "g5k", "yes", "!", "round_robin"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abhosts", max_size=5), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


@pytest.mark.parametrize("dialect", DIALECTS)
@SLOW
@given(data=st.data())
def test_whatever_is_in_a_file_the_errors_are_ours(tmp_path: Path, dialect: str, data: st.DataObject) -> None:
    files = dict(DIALECTS[dialect])
    name = data.draw(st.sampled_from(sorted(files)))
    content = YAML(typ="safe", pure=True).load(files[name])
    path = data.draw(st.sampled_from([place for place in places(content) if place]))
    target = copy.deepcopy(content)
    parent = target
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = data.draw(values)
    files[name] = dump(target)
    try:
        read_scenario(write(tmp_path, files))
    except SpecErrors as errors:
        placed = [isinstance(error.where, Where) for error in errors.errors]
    else:
        placed = [True]
    assert placed
    assert all(placed)

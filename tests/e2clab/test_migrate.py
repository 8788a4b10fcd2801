"""A migrated scenario is an experiment that passes the check, with every task in it or named in a comment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.e2clab.migrate import migrate
from estran.e2clab.rendering import NotPlainError, render
from estran.errors import SpecErrors
from estran.run.prepare import planned, read_experiment
from estran.spec.e2clab import read_scenario
from estran.spec.model import Experiment
from tests.run.experiments import estran
from tests.spec.e2clab.scenarios import DIALECTS, FIRST, SECOND, THIRD, write


def migrated(folder: Path, files: dict[str, str], **changed: str) -> tuple[str, Experiment]:
    scenario = read_scenario(write(folder / "scenario", files | {f"{name}.yaml": text for name, text in changed.items()}))
    text = migrate(scenario, folder, folder / "experiment.yaml")
    (folder / "experiment.yaml").write_text(text)
    experiment, _ = read_experiment(str(folder / "experiment.yaml"))
    planned(experiment)
    return text, experiment


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_becomes_an_experiment(tmp_path: Path, dialect: str) -> None:
    text, _ = migrated(tmp_path, DIALECTS[dialect])
    scenario = read_scenario(tmp_path / "scenario")
    for play in scenario.plays:
        for tasks in play.stages.values():
            for task in tasks:
                assert f"workflow.yaml:{task.where.line}" in text, f"{task.name} is neither carried over nor named"


def test_what_a_scenario_says_of_hosts_and_links_is_kept(tmp_path: Path) -> None:
    _, experiment = migrated(tmp_path, FIRST)
    assert {name: layer.hosts for name, layer in experiment.layers.items()} == {"cloud": 1, "edge": 5}
    (rule,) = experiment.network
    assert (rule.source, rule.target, rule.symmetric) == ("cloud", "edge", False)
    assert (rule.link.delay, rule.link.rate, rule.link.loss) == (0.092, 1e10, 0.02)
    assert experiment.services["server"].command == ("sh", "-c", "python3 /opt/server.py")
    assert experiment.services["client-2"].on == ("edge-2",)
    assert experiment.services["client-2"].command == ("sh", "-c", "python3 /opt/client.py --server cloud-0 --me 2_3_1")


def test_configurations_become_a_factor(tmp_path: Path) -> None:
    _, experiment = migrated(tmp_path, SECOND)
    assert experiment.factors["app_conf"] == ({"env_rounds": 3, "env_name": "a"}, {"env_rounds": 300, "env_name": "b"})
    coordinator = experiment.services["coordinator"]
    assert coordinator.env == {"env_rounds": "3", "env_name": "a"}
    assert coordinator.command == ("sh", "-c", "python3 /tmp/coordinator.py --rounds ${env_rounds}")


def test_rules_between_some_hosts_of_a_layer_name_them(tmp_path: Path) -> None:
    network = 'networks: [{src: "fog.gateway.1.2", dst: "cloud, fog.gateway.1.1", delay: 3ms}]'
    _, experiment = migrated(tmp_path, THIRD, network=network)
    assert [(rule.source, rule.target) for rule in experiment.network] == [("fog-1", "cloud"), ("fog-1", "fog-0")]


def test_paths_start_from_the_experiments_folder(tmp_path: Path) -> None:
    workflow = '- {hosts: cloud, launch: [{shell: "cat {{ artifacts_dir }}/a {{ scenario_dir }}/b ${HOME}"}]}'
    _, experiment = migrated(tmp_path, THIRD, workflow=workflow)
    assert experiment.services["store"].command == ("sh", "-c", "cat ${ESTRAN_FOLDER}/a ${ESTRAN_FOLDER}/scenario/b ${HOME}")


@pytest.mark.parametrize(
    ("task", "script"),
    [
        ("{command: 'ls *.txt', args: {chdir: /srv}}", "cd /srv && ls '*.txt'"),
        ("{shell: 'nohup ./serve > log 2>&1 &'}", "./serve > log 2>&1"),
        ("{shell: 'make && ./serve'}", "make && ./serve"),
        ("{shell: './serve chdir=/srv creates=/srv/done'}", "[ -e /srv/done ] || { cd /srv && ./serve; }"),
        (
            "{shell: {cmd: './serve {{ _self.url }}', chdir: '/srv/{{ _self.machine_id }}'}}",
            "cd /srv/1 && ./serve ${ESTRAN_ADDRESS}",
        ),
        ("{ansible.builtin.command: {argv: [echo, a b]}}", "echo 'a b'"),
    ],
)
def test_tasks_become_scripts(tmp_path: Path, task: str, script: str) -> None:
    _, experiment = migrated(tmp_path, THIRD, workflow=f"- {{hosts: cloud, launch: [{task}]}}")
    assert experiment.services["store"].command == ("sh", "-c", script)


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("{shell: ls, when: x is defined}", "a service has no when"),
        ("{shell: '{% if x %}ls{% endif %}'}", "it has statements of Jinja"),
        ("{shell: 'echo {{ _self.url | upper }}'}", "it has the expression"),
        ("{shell: 'echo {{ nowhere }}'}", "it has the variable 'nowhere'"),
        ("{copy: {src: a, dest: b}}", "only shell and command become services"),
    ],
)
def test_what_cannot_be_carried_over_says_so(tmp_path: Path, task: str, why: str) -> None:
    text, experiment = migrated(tmp_path, THIRD, workflow=f"- hosts: cloud\n  launch:\n  - {task}\n")
    assert f"# workflow.yaml:3: launch: {next(iter(task[1:].split(':')))}: {why}" in text
    assert list(experiment.services) == ["waiting"]


ENDS = st.sampled_from(["a", "b.*", "a.s.1", "*[0]", "all:!a", "*.1", "b,a", "~.*1$"])
SERVICE = st.fixed_dictionaries({"name": st.sampled_from(["s", "T", "u-v"]), "quantity": st.integers(1, 4)})
SERVICES = st.lists(SERVICE, min_size=1, max_size=3)
RULES = st.lists(
    st.fixed_dictionaries(
        {"src": ENDS, "dst": ENDS, "delay": st.sampled_from(["1ms", "20ms 2ms"]), "symmetric": st.booleans()},
        optional={"rate": st.sampled_from(["1gbit", "10mbps", 1000000]), "loss": st.sampled_from(["1%", 0.5])},
    ),
    max_size=4,
)
COMMANDS = st.sampled_from(
    [
        "echo {{ _self._id }}",
        """serve ${HOME} 'a b' "c" """,
        "join {{ peers | join(',') }} &",
        "x: {{ first.url }}\ny #z",
        "{{ 1 + 1 }}",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(SERVICES, SERVICES, RULES, st.lists(st.tuples(ENDS, COMMANDS), max_size=4))
def test_whatever_a_scenario_says_its_experiment_passes_the_check(
    tmp_path: Path, a: list[dict[str, Any]], b: list[dict[str, Any]], rules: list[dict[str, Any]], launches: list[tuple[str, str]]
) -> None:
    depends = [
        {"service_selector": "b", "grouping": "asarray", "array_info": "hostname", "prefix": "peers"},
        {"service_selector": "a", "grouping": "round_robin", "prefix": "first"},
    ]
    files = {
        "layers_services.yaml": {"layers": [{"name": "a", "services": a}, {"name": "b", "services": b}]},
        "network.yaml": {"networks": rules},
        "workflow.yaml": [{"hosts": hosts, "depends_on": depends, "launch": [{"shell": command}]} for hosts, command in launches],
    }
    texts = {name: json.dumps(content) for name, content in files.items()}
    text: str | None = None
    experiment: Experiment | None = None
    try:
        text, experiment = migrated(tmp_path, texts)
    except SpecErrors as errors:
        wrong = [error.what for error in errors.errors if "finds no machine" not in error.what]
    else:
        wrong = []
    assert wrong == [], "selectors that find nothing are all that can be wrong here"
    if text is None or experiment is None:
        return
    machines = [sum(one["quantity"] for one in services) for services in (a, b)]
    assert [layer.hosts for layer in experiment.layers.values()] == machines
    placed = {service for service in experiment.services if service != "waiting"}
    assert placed or not [command for _, command in launches if command != "{{ 1 + 1 }}"]
    assert text.count("the expression") == len([command for _, command in launches if command == "{{ 1 + 1 }}"])


def test_templates_are_filled_in_or_refused() -> None:
    known = {"a": {"b": [1, {"c": "x"}]}, "d": "{{ a.b[0] }}", "e": "{{ e }}", "f": ["p", "q"]}
    assert render("{{ a.b[1]['c'] }}-{{d}}-{{ f|join('+') }}", known) == "x-1-p+q"
    for text in ("{{ e }}", "{{ a.z }}", "{{ a | length }}", "{{ 1 + 1 }}", "{# #}"):
        with pytest.raises(NotPlainError):
            render(text, known)


def test_the_verbs(tmp_path: Path) -> None:
    write(tmp_path / "scenario", SECOND)
    (tmp_path / "coordinator.py").touch()
    checked = estran("e2clab", "check", "scenario", ".", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "coordinator (round_robin of cloud.coordinator.1.1)" in " ".join(checked.stdout.replace("│", " ").split())
    assert "provenance: every run keeps" in checked.stdout
    estran("e2clab", "migrate", "scenario", "--to", "out/experiment.yaml", cwd=tmp_path)
    assert estran("check", "out", cwd=tmp_path).returncode == 0
    again = estran("e2clab", "migrate", "scenario", "--to", "out/experiment.yaml", cwd=tmp_path)
    assert again.returncode == 2
    assert "already there" in again.stderr
    (tmp_path / "scenario" / "network.yaml").write_text("networks: [{src: a, dst: cloud, delay: fast}]")
    wrong = estran("e2clab", "check", "scenario", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "scenario/network.yaml:1:18: networks.0.src: 'a' finds no machine" in wrong.stderr
    assert "scenario/network.yaml:1:40: networks.0.delay: 'fast' is not a duration" in wrong.stderr

"""What E2Clab 3.7.0 calls a valid configuration and is none is found, all of it, where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.errors import RequestError, SpecErrors
from estran.spec.e2clab import read_scenario

from .scenarios import FIRST, SECOND, THIRD, mistakes, read, write

LAYERS, NETWORK, WORKFLOW = (SECOND[f"{name}.yaml"] for name in ("layers_services", "network", "workflow"))


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("network", '"10ms"', "fast", "network.yaml:3:34: networks.0.delay: 'fast' is not a duration → write 10ms, 2s or 5min"),
        ("network", '"0.5%"', "500%", "network.yaml:3:65: networks.0.loss: '500%' is out of range"),
        ("network", "src: cloud", "src: clowd", "network.yaml:3:9: networks.0.src: 'clowd' finds no machine → did you mean"),
        ("network", '"10ms"', "10", "networks.0.delay: '10' has no unit for a duration"),
        ("network", "symmetric: true", "simmetric: true", "unknown key 'simmetric' → did you mean 'symmetric'?"),
        ("network", "symmetric: true", "symmetric: maybe", "networks.0.symmetric: must be true or false"),
        ("network", '"100mbit"', "0mbit", "networks.0.rate: '0mbit' is out of range: it must be more than zero"),
        ("network", "networks:", "network:", "network.yaml:2:1: network: unknown key 'network' → did you mean 'networks'?"),
        ("layers_services", "quantity: 3", "quantty: 2", "layers_services.yaml:19:20: layers.1.services.0.quantty: unknown key"),
        ("layers_services", "quantity: 3", "quantity: -2.5", "layers.1.services.0.quantity: must be a whole number, not -2.5"),
        ("layers_services", "quantity: 3", "quantity: 0", "layers.1.services.0.quantity: must be at least 1, not 0"),
        ("layers_services", "quantity: 3", "repeat: -1", "layers.1.services.0.repeat: must be at least 0, not -1"),
        ("layers_services", "  g5k:", "  g5kk:", "unknown key 'g5kk' → did you mean 'g5k'?"),
        ("layers_services", "name: edge", "name: Cloud", "there is another layer 'cloud'"),
        ("layers_services", "layers:", "layer:", "unknown key 'layer' → did you mean 'layers'?"),
        ("layers_services", '"01:00:00"', "tomorrow", "environment.walltime:"),
        ("layers_services", "env: {batch", "environment: g6k, env: {batch", "'g6k' is no testbed → did you mean 'g5k'?"),
        ("workflow", "launch:", "luanch:", "workflow.yaml:5:3: 0.luanch: unknown key 'luanch' → did you mean 'launch'?"),
        ("workflow", "- shell:", "- shelll:", "workflow.yaml:6:7: 0.launch.0.shelll: there is no module 'shelll' → did you mean"),
        ("workflow", "- copy:", "- ansible.builtin.copi:", "there is no module 'ansible.builtin.copi' → did you mean 'copy'?"),
        ("workflow", "poll: 0", "pol: 0", "workflow.yaml:8:7: 0.launch.0.pol: unknown key 'pol' of a task"),
        ("workflow", "grouping: aggregate", "grouping: agregate", "asarray, aggregate, address_match → did you mean 'aggregate'?"),
        ("workflow", "prefix: worker", "prefix: 1st", "1.depends_on.1.prefix: "),
        ("workflow", "service_selector: edge.worker.*", "service_selector: edge.werker.*", "'edge.werker.*' finds no machine"),
        ("workflow", "hosts: edge.worker.*", "hosts: edge.worker.*[3]", "'edge.worker.*[3]' finds no machine: there are 3"),
        ("workflow", "hosts: edge.worker.*", "hosts: ~edge.(", "1.hosts: '~edge.(' is no regular expression"),
        ("workflow", "hosts: edge.worker.*", "host: edge", "the key 'hosts' is missing"),
        ("workflow_env", "rounds: 3,", "rounds: [3],", "workflow_env.yaml:2:"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, file: str, old: str, new: str, expected: str) -> None:
    text = SECOND[f"{file}.yaml"]
    assert old in text
    found = mistakes(tmp_path, SECOND, **{file: text.replace(old, new, 1)})
    assert any(expected in one for one in found), found
    assert len(found) == 1 or new in ("layer:", "host: edge", "name: Cloud", "g5kk:"), found


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        SECOND,
        layers_services=LAYERS.replace("quantity: 3", "quantty: 2"),
        network=NETWORK.replace("10ms", "fast").replace("0.5%", "500%").replace("src: cloud", "src: nowhere"),
        workflow=WORKFLOW.replace("launch:", "luanch:").replace("- shell", "- shelll"),
    )
    assert [one.split(":")[0] for one in found] == ["layers_services.yaml"] + ["network.yaml"] * 3 + ["workflow.yaml"] * 2


def test_two_modules_or_none_in_a_task(tmp_path: Path) -> None:
    both = WORKFLOW.replace("      async: 3600\n", "      command: ls\n")
    assert "a task has one module, and this one has shell, command → make two of it" in mistakes(tmp_path, SECOND, workflow=both)[0]
    none = WORKFLOW.replace("- shell: python3 /tmp/coordinator.py --rounds {{ env_rounds }}", "- name: nothing")
    assert "the task has no module" in mistakes(tmp_path, SECOND, workflow=none)[0]


def test_tasks_within_blocks_are_checked(tmp_path: Path) -> None:
    block = WORKFLOW + "    - block:\n      - shelll: x\n      rescue:\n      - debugg: {msg: y}\n      alwyas: []\n"
    found = mistakes(tmp_path, SECOND, workflow=block)
    assert [one.partition(": ")[2].partition(" →")[0] for one in found] == [
        "1.launch.1.block.0.shelll: there is no module 'shelll'",
        "1.launch.1.rescue.0.debugg: there is no module 'debugg'",
        "1.launch.1.alwyas: unknown key 'alwyas'",
    ]


def test_a_part_of_a_service_that_only_its_plug_in_knows_is_noted(tmp_path: Path) -> None:
    scenario = read(tmp_path, SECOND, workflow=WORKFLOW.replace("hosts: edge.worker.*", "hosts: edge.worker.1.leader.*"))
    assert "'edge.worker.1.leader.*' finds no machine unless the plug-in of a service registers it" in scenario.notes[-1].what


def test_rates_and_losses_that_tc_reads_otherwise_are_noted(tmp_path: Path) -> None:
    scenario = read(
        tmp_path, SECOND, network=NETWORK.replace("100mbit", "10mbps").replace('"0.5%"', "0.5").replace("10ms", "10ms 2ms")
    )
    (rule,) = scenario.network
    assert (rule.link.rate, rule.link.loss, rule.link.jitter) == (8e7, 0.005, 0.002)
    assert [note.what for note in scenario.notes] == [
        "10mbps counts bytes, as tc reads it: 80mbit; in mbit it leaves no doubt",
        "a loss of 0.5 is 0.5%, as tc reads it",
    ]


def test_files_that_tasks_send_must_be_there(tmp_path: Path) -> None:
    write(tmp_path / "scenario", SECOND)
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    with pytest.raises(SpecErrors) as raised:
        read_scenario(tmp_path / "scenario", artifacts)
    assert "workflow.yaml:4:7" in str(raised.value)
    (artifacts / "coordinator.py").touch()
    read_scenario(tmp_path / "scenario", artifacts)


def test_a_folder_without_a_scenario_says_which_have_one(tmp_path: Path) -> None:
    write(tmp_path / "8-nodes", THIRD)
    with pytest.raises(RequestError, match=r"choose one of the scenarios in it: 8-nodes"):
        read_scenario(tmp_path)
    with pytest.raises(RequestError, match="no such folder"):
        read_scenario(tmp_path / "none")


def test_a_vault_and_a_key_twice_are_errors(tmp_path: Path) -> None:
    secret = mistakes(tmp_path, FIRST, workflow=FIRST["workflow.yaml"].replace("become: yes", "become_user: !vault abc"))
    assert "the tag !vault is not supported" in secret[0]
    twice = mistakes(tmp_path, FIRST, workflow=FIRST["workflow.yaml"].replace("become: yes", "shell: ls"))
    assert "occurs twice" in twice[0]

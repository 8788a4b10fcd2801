"""Tasks on hosts behind a real sshd: files come and go, ansible-playbook reaches the same hosts, and a lost host is told."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from estran.platforms.ssh.connection import all_reached
from estran.spec.document import read_ansible
from estran.tasks.result import Result
from estran.tasks.runner import TaskRunner
from tests.platforms.ssh.sshd import Machine, machines, usable

pytestmark = [usable, pytest.mark.root]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Machine]]:
    with machines(2, tmp_path_factory.mktemp("sshd")) as found:
        yield found


def reaching(machine: Machine) -> dict[str, str]:
    """What ansible-playbook needs to reach it."""
    return {
        "ansible_host": machine.target.host, "ansible_user": "root", "ansible_ssh_private_key_file": machine.target.keys[0],
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={machine.target.known_hosts}",
        "ansible_python_interpreter": "/usr/bin/python3",
    }  # fmt: skip


async def test_tasks_over_ssh(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 40_000)
    place = "/tmp/estran-over-ssh-{{ inventory_hostname }}"
    (tmp_path / "roles" / "mark" / "tasks").mkdir(parents=True)
    (tmp_path / "roles" / "mark" / "tasks" / "main.yml").write_text(
        f"- file: {{path: '{place}/by-role', state: touch, mode: '0600'}}\n"
    )
    text = f"""
- file: {{path: "{place}", state: directory}}
- copy: {{src: big.bin, dest: "{place}/"}}
- copy: {{src: big.bin, dest: "{place}/"}}
  register: again
- shell: "sha256sum < {place}/big.bin; hostname -I"
  register: sum
- fetch: {{src: "{place}/big.bin", dest: "{tmp_path}/back/{{{{ inventory_hostname }}}}", flat: true}}
- tempfile: {{path: "{place}"}}
  register: module
- include_role: {{name: mark}}
- stat: {{path: "{place}/by-role"}}
  register: role
- file: {{path: "{place}", state: absent}}
- shell: 'echo {{{{ ansible_system }}}}'
  register: facts
"""
    document = read_ansible(text, str(tmp_path / "tasks.yml"))
    variables = {name: reaching(machine) for name, machine in hosts.items()}
    async with (
        all_reached({name: machine.target for name, machine in hosts.items()}, "test-tasks") as found,
        TaskRunner(found, variables=variables, folders=[tmp_path]) as runner,
    ):
        report = await runner.run(document.data, document.marks)
    assert report.ok, report.failed
    digest = hashlib.sha256((tmp_path / "big.bin").read_bytes()).hexdigest()
    for name, machine in hosts.items():
        told = report.variables[name]
        assert told["sum"]["stdout"].split() == [digest, "-", machine.target.host]
        assert told["again"]["changed"] is False
        assert told["module"]["changed"] is True
        assert told["role"]["stat"]["mode"] == "0600"
        assert told["facts"]["stdout"] == "Linux"
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "big.bin").read_bytes()
    assert {result.tier for result in report.results} == {"native", "module", "playbook"}


async def test_a_host_that_is_lost_leaves_and_the_other_goes_on(hosts: Mapping[str, Machine]) -> None:
    document = read_ansible("- {name: long, shell: 'sleep 1'}\n- {name: after, command: 'true'}", "tasks.yml")
    results: list[Result] = []
    async with (
        all_reached({name: machine.target for name, machine in hosts.items()}, "test-tasks") as found,
        TaskRunner(found, on_result=results.append) as runner,
    ):
        going = asyncio.create_task(runner.run(document.data, document.marks))
        while not any("sleep" in line for line in hosts["h0"].processes()):
            await asyncio.sleep(0.02)
        hosts["h0"].kill()
        report = await going
    assert [(result.host, result.task, result.status) for result in results] == [
        ("h0", "long", "unreachable"), ("h1", "long", "changed"), ("h1", "after", "changed"),
    ]  # fmt: skip
    assert list(report.failed) == ["h0"]

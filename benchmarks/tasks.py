"""Lists of tasks on real SSH hosts: by Estran, by ansible-playbook and, if told where it is, by EnOSlib; the same hosts, one run.

    python benchmarks/tasks.py --hosts 8 --replicates 3 [--enoslib PYTHON] [--workloads wf10 modules10]

Three workloads: ``wf4`` copies 1 MB to each host, runs two shell tasks and fetches a file; ``wf10`` runs ten shell tasks;
``modules10`` runs ten of Ansible's own modules, unmodified (lines, blocks and replacements in a file, searching, a temporary file),
on hosts that have had them before. Hosts are network namespaces with a sshd each (root, ip and sshd are needed), and shells there
start nothing. All engines connect anew each time; ``estran, connected`` uses hosts that are reached already, as the stages of a run
do. ansible-playbook has pipelining and a fork for each host, and gathers no facts; EnOSlib has its defaults, as E2Clab uses it
(``PYTHON`` is of an environment with enoslib). Shown are medians of
wall seconds and of the processor seconds of the controller, and the median over replicates of each one's ratio to Estran's in the
same replicate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from estran.platforms.ssh.connection import all_reached
from estran.spec.marks import Marks
from estran.tasks.runner import run_tasks
from tests.platforms.ssh.sshd import Machine, machines

MEGABYTE = 1 << 20


def workloads(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Tasks that take a name for each round, so that no round finds what another left."""
    copy = {"copy": {"src": str(folder / "payload"), "dest": "/tmp/estran-bench-{{ inventory_hostname }}-{{ round }}"}}
    remove = "rm -f /tmp/estran-bench-{{ inventory_hostname }}-*"
    fetch = {"fetch": {"src": "/etc/hostname", "dest": str(folder / "fetched-{{ round }}")}}
    return {
        "wf4": [copy, {"shell": "sha256sum /tmp/estran-bench-{{ inventory_hostname }}-{{ round }}"}, {"shell": remove}, fetch],
        "wf10": [{"shell": f"echo {number}"} for number in range(10)],
        "modules10": modules(folder),
    }


def modules(folder: Path) -> list[dict[str, Any]]:
    """Ten tasks of modules that Estran does not do natively and that change something on each host."""
    path = "/tmp/estran-bench-{{ inventory_hostname }}-{{ round }}"
    return [
        {"lineinfile": {"path": path, "line": "port = 80", "create": True, "mode": "0644"}},
        {"lineinfile": {"path": path, "regexp": "^port", "line": "port = 8000"}},
        {"lineinfile": {"path": path, "line": "host = {{ inventory_hostname }}"}},
        {"blockinfile": {"path": path, "block": "one\ntwo"}},
        {"replace": {"path": path, "regexp": "8000", "replace": "8001"}},
        {"getent": {"database": "passwd", "key": "root"}},
        {"find": {"paths": "/etc", "patterns": "host*"}},
        {"lineinfile": {"path": path, "regexp": "^host", "state": "absent"}},
        {"blockinfile": {"path": path, "state": "absent"}},
        {"tempfile": {"state": "file", "suffix": "{{ round }}", "path": str(folder)}},
    ]


async def by_estran(tasks: list[dict[str, Any]], hosts: Mapping[str, Machine], label: str) -> None:
    """Connect and do."""
    async with all_reached({name: machine.target for name, machine in hosts.items()}, f"bench-{label}") as found:
        await done(tasks, found, label)


async def done(tasks: list[dict[str, Any]], found: Mapping[str, Any], label: str) -> None:
    report = await run_tasks(tasks, found, marks=Marks("bench"), variables={name: {"round": label} for name in found})
    assert report.ok, report.failed
    assert len(report.results) == len(tasks) * len(found)


def by_ansible(tasks: list[dict[str, Any]], hosts: Mapping[str, Machine], label: str, folder: Path) -> None:
    """Run the real thing."""
    inventory = {
        name: {
            "ansible_host": machine.target.host, "ansible_user": "root", "ansible_ssh_private_key_file": machine.target.keys[0],
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={machine.target.known_hosts} -o ControlPath=none",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        for name, machine in hosts.items()
    }  # fmt: skip
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": inventory}}))
    (folder / "play.json").write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks, "vars": {"round": label}}])
    )
    environment = os.environ | {"ANSIBLE_PIPELINING": "1", "ANSIBLE_FORKS": str(len(hosts))}
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "-i", str(folder / "hosts.json"), str(folder / "play.json")]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-1000:]


ENOSLIB = """\
import json, sys
import enoslib as en
hosts, tasks, label = json.load(open(sys.argv[1]))
roles = en.Roles({"all": [en.Host(h["address"], alias=h["name"], user="root", keyfile=h["key"],
    extra={"ansible_ssh_common_args": h["args"], "ansible_python_interpreter": "/usr/bin/python3"}) for h in hosts]})
with en.actions(roles=roles, extra_vars={"round": label}) as actions:
    for task in tasks:
        for module, given in task.items():
            if isinstance(given, dict):
                getattr(actions, module)(**given)
            else:
                getattr(actions, module)(given)
"""


def by_enoslib(tasks: list[dict[str, Any]], hosts: Mapping[str, Machine], label: str, folder: Path, python: str) -> None:
    """Run EnOSlib as E2Clab does."""
    listed = [
        {
            "name": name, "address": machine.target.host, "key": machine.target.keys[0],
            "args": f"-o UserKnownHostsFile={machine.target.known_hosts}",
        }
        for name, machine in hosts.items()
    ]  # fmt: skip
    (folder / "with_enoslib.json").write_text(json.dumps([listed, tasks, label]))
    (folder / "with_enoslib.py").write_text(ENOSLIB)
    command = [python, str(folder / "with_enoslib.py"), str(folder / "with_enoslib.json")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds of this process and those that it waited for."""
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    began = time.monotonic()
    work()
    wall = time.monotonic() - began
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    used = sum(one.ru_utime + one.ru_stime - two.ru_utime - two.ru_stime for one, two in zip(after, before, strict=True))
    return wall, used


async def connected(tasks: list[dict[str, Any]], hosts: Mapping[str, Machine], label: str) -> tuple[float, float]:
    """Seconds of tasks on hosts that are reached already."""
    async with all_reached({name: machine.target for name, machine in hosts.items()}, f"bench-{label}") as found:
        began, used = time.monotonic(), time.process_time()
        await done(tasks, found, label)
        return time.monotonic() - began, time.process_time() - used


def replicate(
    name: str, tasks: list[dict[str, Any]], hosts: Mapping[str, Machine], number: int, folder: Path, enoslib: str | None
) -> dict[str, tuple[float, float]]:
    """All engines once."""
    label = f"{name}-{number}"
    found = {"estran": measured(lambda: asyncio.run(by_estran(tasks, hosts, f"{label}-a")))}
    found["estran, connected"] = asyncio.run(connected(tasks, hosts, f"{label}-b"))
    found["ansible-playbook"] = measured(lambda: by_ansible(tasks, hosts, f"{label}-c", folder))
    if enoslib is not None:
        found["enoslib"] = measured(lambda: by_enoslib(tasks, hosts, f"{label}-d", folder, enoslib))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--enoslib", help="a Python with enoslib")
    parser.add_argument("--workloads", nargs="+", default=["wf4", "wf10", "modules10"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "payload").write_bytes(os.urandom(MEGABYTE))
        with machines(asked.hosts, folder) as hosts:
            known = workloads(folder)
            for workload in asked.workloads:
                tasks = known[workload]
                rounds = [replicate(workload, tasks, hosts, number, folder, asked.enoslib) for number in range(asked.replicates)]
                for engine in rounds[0]:
                    wall, used = (statistics.median(one[engine][part] for one in rounds) for part in (0, 1))
                    ratio = [statistics.median(one[engine][part] / one["estran"][part] for one in rounds) for part in (0, 1)]
                    print(
                        f"{workload:5} {engine:18} {wall:7.2f} s wall ({ratio[0]:6.1f}×) {used:7.2f} s processor ({ratio[1]:6.1f}×)"
                    )


if __name__ == "__main__":
    main()

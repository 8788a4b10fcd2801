"""Three trivial shell tasks on three hosts, as a scenario of E2Clab: how long it takes, and what Ansible takes for the tasks alone.

    python benchmarks/e2clab.py        (root, sshd, ip; ansible-core for the peer)

E2Clab 3.7.0 hands each stage of each play to Ansible in a process of its own; the peer measured here is just that:
`ansible-playbook`, once for each of the three stages, on the same hosts over SSH, without all that E2Clab does beside. E2Clab's own
figure (69 s, 12 CPU-s, the code unchanged but for a static provider) is quoted, not measured here.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.platforms.ssh.sshd import Machine, machines  # noqa: E402

E2CLAB_SECONDS, E2CLAB_CPU = 69.0, 12.0
GOAL = 5.0
STAGES = ("prepare", "launch", "finalize")
SCENARIO = {
    "layers_services.yaml": """
layers:
- {name: cloud, services: [{name: Server}]}
- {name: edge, services: [{name: Client, quantity: 2}]}
""",
    "network.yaml": "networks: null\n",
    "workflow.yaml": "- hosts: '*'\n" + "".join(f"  {stage}: [{{shell: echo {stage}}}]\n" for stage in STAGES),
}


def measured(argv: list[str], cwd: Path, **environment: str) -> tuple[float, float]:
    """Wall and processor seconds of a command, with all that it starts."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def estran(folder: Path, on: str) -> tuple[float, float]:
    argv = [sys.executable, "-m", "estran.cli.main", "e2clab", "run", "scenario", "artifacts", "--on", on]
    return measured(argv, folder, XDG_STATE_HOME=str(folder / "state"), ANSIBLE_HOME=str(folder))


def ansible(folder: Path, program: str, hosts: dict[str, Machine]) -> tuple[float, float]:
    lines = [
        f"{name} ansible_host={machine.target.host} ansible_user=root ansible_ssh_private_key_file={machine.target.keys[0]} "
        f"ansible_ssh_common_args='-o UserKnownHostsFile={machine.target.known_hosts}' ansible_python_interpreter={sys.executable}"
        for name, machine in hosts.items()
    ]
    (folder / "inventory").write_text("\n".join(lines) + "\n")
    wall = cpu = 0.0
    for stage in STAGES:
        play = [{"hosts": "all", "gather_facts": False, "tasks": [{"shell": f"echo {stage}"}]}]
        (folder / f"{stage}.yaml").write_text(json.dumps(play))
        took = measured([program, "-i", "inventory", f"{stage}.yaml"], folder, ANSIBLE_PIPELINING="true")
        wall, cpu = wall + took[0], cpu + took[1]
    return wall, cpu


def main() -> None:
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as keys, machines(3, Path(keys)) as hosts:
        folder = Path(place)
        for name, text in SCENARIO.items():
            (folder / "scenario").mkdir(exist_ok=True)
            (folder / "scenario" / name).write_text(text)
        (folder / "artifacts").mkdir()
        first = next(iter(hosts.values())).target
        listed = "".join(f"- {{host: {machine.target.host}}}\n" for machine in hosts.values())
        reach = f"platform: ssh\nuser: root\nkey: {first.keys[0]}\nknown_hosts: {first.known_hosts}\n"
        (folder / "lab.yaml").write_text(f"{reach}hosts:\n{listed}")
        for kind, on in (("on SSH hosts", "lab.yaml"), ("on emulated hosts", "emulate")):
            wall, cpu = min(estran(folder, on) for _ in range(3))
            print(f"scenario {kind:18} {wall:6.2f} s {cpu:6.2f} CPU-s   (goal {GOAL:g} s)")
            told = f"{E2CLAB_SECONDS:6.0f} s {E2CLAB_CPU:6.0f} CPU-s   {E2CLAB_SECONDS / wall:.0f}x as long"
            print(f"  E2Clab 3.7.0, quoted      {told}")
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            if program := shutil.which("ansible-playbook", path=path):
                peer = ansible(folder, program, dict(hosts))
                print(f"  the tasks by Ansible alone {peer[0]:5.2f} s {peer[1]:6.2f} CPU-s   {peer[0] / wall:.1f}x as long")
            else:
                print("  the tasks by Ansible alone: pip install ansible-core to measure it")


if __name__ == "__main__":
    main()

"""Tasks that only the real ``ansible-playbook`` can do: roles, and modules with a part of their own on the controller."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from estran.errors import RequestError
from estran.tasks.call import Call, Found, failure
from estran.tasks.connection import Connection

REACHING: Final = ("ansible_connection", "ansible_host", "ansible_ssh_common_args")
"""Variables of a host of which one must say how Ansible reaches it."""
_CARRIED: Final = (
    "become", "become_user", "become_method", "environment", "no_log",
)  # fmt: skip


async def run_playbook(call: Call, here: Connection) -> Found:
    """Do one task on one host by ``ansible-playbook``, and read what it registered.

    Parameters
    ----------
    here
        This machine, by an envoy: what it starts and writes ends with the controller.

    Raises
    ------
    RequestError
        If ansible-core is not installed, or the host cannot be reached by it.
    """
    program = _program(call)
    reaching = {name: call.scope[name] for name in call.state.given if name in REACHING or _is_reaching(name)}
    if not any(name in reaching for name in REACHING):
        raise RequestError(
            f"the module {call.task.module!r} is done by ansible-playbook, which cannot reach the host {call.target.host.name!r}",
            where=call.task.where,
            remedy="use modules that run on the host, or hosts that are reached by SSH (ansible_host among their variables)",
        )
    folder = Path(tempfile.mkdtemp(dir=here.scratch))
    try:
        return await _run(call, program, reaching, folder, here)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(call: Call) -> str:
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if found is None:
        raise RequestError(
            f"the module {call.task.module!r} needs ansible-playbook, which is not installed",
            where=call.task.where,
            remedy="pip install 'estran[ansible]'",
        )
    return found


def _is_reaching(name: str) -> bool:
    return name.startswith(("ansible_ssh_", "ansible_become")) or name in (
        "ansible_port",
        "ansible_user",
        "ansible_python_interpreter",
    )


async def _run(call: Call, program: str, reaching: Mapping[str, Any], folder: Path, here: Connection) -> Found:
    host = call.state.name
    given = call.arguments if call.text is None else call.text
    task: dict[str, Any] = {
        "name": call.task.name, call.task.module: given, "register": "estran_result", "ignore_errors": True,
        **{key: call.scope.value(call.task.keywords[key]) for key in _CARRIED if key in call.task.keywords},
    }  # fmt: skip
    answer = folder / "answer"
    tell = {"copy": {"content": "{{ estran_result | default({}) | to_json }}", "dest": str(answer)}, "delegate_to": "localhost"}
    play = [{"hosts": host, "gather_facts": call.task.module.endswith("_role"), "tasks": [task, {**tell, "become": False}]}]
    if call.task.module.endswith("_role"):
        del task["register"]
    _write(folder / "play.json", play)
    _write(folder / "hosts.json", {"all": {"hosts": {host: dict(reaching)}}})
    _write(folder / "vars.json", _variables(call))
    environment = {"ANSIBLE_ROLES_PATH": _roles(call), "ANSIBLE_RETRY_FILES_ENABLED": "0", "ANSIBLE_NOCOLOR": "1"}
    argv = [program, "-i", str(folder / "hosts.json"), "-e", f"@{folder / 'vars.json'}", str(folder / "play.json")]
    done = await here.host.run(argv, cwd=str(call.finder.home()), env=environment)
    return _answer(answer, done.returncode, (done.stdout + done.stderr).decode(errors="replace"), hidden=call.no_log)


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, default=str), encoding="utf-8")
    path.chmod(0o600)


def _variables(call: Call) -> dict[str, Any]:
    """What the task may refer to: all that is known by name and can be written as JSON."""
    known: dict[str, Any] = {}
    for layer, _ in call.scope.layers[:-1]:
        known = {**{name: value for name, value in layer.items() if not name.startswith("ansible_")}, **known}
    return known


def _roles(call: Call) -> str:
    return ":".join([*(str(folder / "roles") for folder in call.finder.folders), "~/.ansible/roles", "/etc/ansible/roles"])


def _answer(answer: Path, status: int, printed: str, *, hidden: bool) -> Found:
    if not answer.exists():
        tail = "" if hidden else ": " + " | ".join(printed.strip().splitlines()[-6:])
        return failure(f"ansible-playbook ended with status {status}{tail}", rc=status)
    found: Found = json.loads(answer.read_text(encoding="utf-8"))
    found.pop("invocation", None)
    if not found and status == 0:
        return {"changed": "changed=0 " not in printed.partition("PLAY RECAP")[2].replace("changed=1 ", "changed=0 ", 1)}
    return found

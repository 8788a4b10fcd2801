"""setup: facts of a host, by Ansible's own module where ansible-core is installed."""

from __future__ import annotations

from typing import Any

from estran.tasks.archive import ansible_folder
from estran.tasks.call import Call, Found
from estran.tasks.connection import Connection


async def setup(call: Call) -> Found:
    """Gather what is asked for."""
    from estran.tasks.foreign import run_foreign

    if ansible_folder() is None:
        facts = own_facts(call.target)
    else:
        found = await run_foreign(call, "setup")
        if found.get("failed"):
            return found
        facts = found["ansible_facts"]
    call.state.facts.update(facts)
    return {"ansible_facts": facts, "changed": False}


def own_facts(connection: Connection) -> dict[str, Any]:
    """Facts that the envoy told, by Ansible's names: a part of what Ansible gathers."""
    told = connection.host.facts
    major, minor, micro = [*str(told.get("python", "0.0.0")).split("."), "0", "0"][:3]
    return {
        "ansible_hostname": str(told.get("hostname", "")).split(".")[0], "ansible_nodename": told.get("hostname"),
        "ansible_kernel": told.get("kernel"), "ansible_system": told.get("system"), "ansible_architecture": told.get("machine"),
        "ansible_machine": told.get("machine"), "ansible_processor_vcpus": told.get("cores"),
        "ansible_processor_nproc": told.get("cores"), "ansible_memtotal_mb": int(told.get("memory", 0)) >> 20,
        "ansible_user_id": told.get("user"), "ansible_user_uid": told.get("uid"), "ansible_user_dir": told.get("home"),
        "ansible_python_version": told.get("python"),
        "ansible_python": {
            "version": {"major": int(major), "minor": int(minor), "micro": int(micro)}, "executable": told.get("executable"),
        },
    }  # fmt: skip

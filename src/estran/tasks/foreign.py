"""Tasks whose modules are Ansible's own, done in the worker of a host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from estran.tasks.archive import ansible_version, core_modules, installed_ansible, module_arguments
from estran.tasks.call import Call, Found, failure
from estran.tasks.filters import to_bool

_MANAGERS: Final = {"package": ("ansible_pkg_mgr", "apt"), "service": ("ansible_service_mgr", "service")}
_SERVICES: Final = {"systemd": "systemd", "sysvinit": "sysvinit"}


async def run_foreign(call: Call, module: str) -> Found:
    """Run one of Ansible's modules on the host; raises RequestError if ansible-core is not installed."""
    name, given = await _chosen(call, module, dict(call.arguments))
    if name == "unarchive" and (undone := await _unarchived(call, given)) is not None:
        return undone
    if name == "uri" and given.get("src") is not None and not call.flag("remote_src"):
        given |= {"src": await _sent(call, str(given["src"])), "remote_src": True}
    version = ansible_version(installed_ansible())
    wanted = module_arguments(name, given, no_log=call.no_log, scratch=call.target.temporary(call.user), version=version)
    found = await call.target.run_module(
        f"ansible.modules.{name}", wanted, core_modules(), user=call.user, environment=call.environment, timeout=call.timeout
    )
    found.pop("invocation", None)
    if isinstance(found.get("ansible_facts"), dict) and module != "setup":
        call.state.facts.update(found["ansible_facts"])
    return found


async def _chosen(call: Call, module: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The module that does the work of one that only chooses."""
    if module not in _MANAGERS:
        return module, given
    use = given.pop("use", "auto")
    if use == "auto":
        fact, otherwise = _MANAGERS[module]
        subset = ["!all", fact.removeprefix("ansible_")]
        asked = replace(call, arguments={"filter": [fact], "gather_subset": subset}, text=None)
        use = str((await run_foreign(asked, "setup")).get("ansible_facts", {}).get(fact, otherwise))
    return (_SERVICES.get(use, "service") if module == "service" else use), given


async def _unarchived(call: Call, given: dict[str, Any]) -> Found | None:
    """What Ansible's controller does of ``unarchive``: see whether there is something to do, and send the archive."""
    source, dest, creates = call.needed("src"), call.needed("dest"), given.pop("creates", None)
    if creates and (await _stat(call, str(creates)))["exists"]:
        return {"skipped": True, "changed": False, "msg": f"skipped, since {creates} exists"}
    there = await _stat(call, str(dest))
    if not call.flag("remote_src") and to_bool(given.pop("copy", True)) and "://" not in str(source):
        source = await _sent(call, str(source))
    given |= {"src": source, "remote_src": True}
    return None if there.get("isdir") else failure(f"dest '{dest}' must be an existing dir")


async def _stat(call: Call, path: str) -> Found:
    told: Found = (await call.perform("stat", {"path": path, "follow": True, "get_checksum": False}))["stat"]
    return told


async def _sent(call: Call, source: str) -> str:
    """Send a file of the controller to where the task's user can read it."""
    path = call.find("files", source)
    there = f"{call.target.scratch}/sent-{path.name}"
    await call.target.host.put_bytes(path.read_bytes(), there, mode=0o644)
    await call.target.reveal()
    return there

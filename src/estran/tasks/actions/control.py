"""Modules that do nothing on a host: variables, messages, assertions, waiting."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from estran.errors import SpecErrors
from estran.spec.document import read_ansible
from estran.tasks.call import Call, Found, failure
from estran.tasks.errors import EvaluationError

_EXTENSIONS: Final = ("yaml", "yml", "json")


async def debug(call: Call) -> Found:
    """Say something, or the value of an expression."""
    if number_of("verbosity", call.arguments.get("verbosity", 0)) > 0:
        return {"skipped": True, "skipped_reason": "Verbosity threshold not met.", "changed": False, "failed": False}
    if "var" not in call.arguments:
        return {"msg": call.arguments.get("msg", "Hello world!"), "changed": False}
    if "msg" in call.arguments:
        return failure("'msg' and 'var' are incompatible options")
    var = call.arguments["var"]
    if not isinstance(var, str):
        return {str(var): var, "changed": False}
    try:
        return {var: call.scope.value("{{ " + var + " }}"), "changed": False}
    except EvaluationError as error:
        return {var: f"<< error 1 - {error.what} >>", "changed": False}


def number_of(name: str, value: Any) -> float:
    """A number among a module's arguments; raises EvaluationError if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise EvaluationError(f"{name}: {value!r} is no number", remedy="write such as 1") from None


async def set_fact(call: Call) -> Found:
    """Set variables of the host."""
    facts = {key: value for key, value in call.arguments.items() if key != "cacheable"}
    if not facts:
        return failure("No key/value pairs provided, at least one is required for this action to succeed")
    for name in facts:
        if not str(name).isidentifier():
            return failure(f"The variable name '{name}' is not valid. Variables must start with a letter or underscore character")
    call.state.found.update(facts)
    return {"ansible_facts": facts, "changed": False}


async def include_vars(call: Call) -> Found:
    """Read variables from a file, or from all files of a folder."""
    wanted = call.text or call.arguments.get("file") or call.arguments.get("free_form")
    if wanted is None and call.arguments.get("dir") is None:
        return failure("one of the following is required: file, dir")
    try:
        paths = [call.find("vars", str(wanted))] if wanted is not None else _in_folder(call)
        read = [read_ansible(path.read_text(encoding="utf-8"), str(path)).data for path in paths]
    except EvaluationError as error:
        return failure(error.what, ansible_included_var_files=[], ansible_facts={})
    except SpecErrors as error:
        return failure(str(error), ansible_included_var_files=[], ansible_facts={})
    found: dict[str, Any] = {}
    for path, values in zip(paths, read, strict=True):
        if not isinstance(values or {}, dict):
            return failure(f"{path} must be stored as a dictionary/hash", ansible_included_var_files=[], ansible_facts={})
        found |= values or {}
    facts = {str(call.arguments["name"]): found} if call.arguments.get("name") else found
    call.state.included.update(facts)
    told = {"ansible_included_var_files": [str(path) for path in paths], "ansible_facts": call.scope.value(facts)}
    return {**told, "changed": False}


def _in_folder(call: Call) -> list[Path]:
    folder = call.find("vars", str(call.arguments["dir"]))
    endings = tuple(str(part) for part in call.arguments.get("extensions") or _EXTENSIONS)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.removeprefix(".") in endings)


async def assert_(call: Call) -> Found:
    """Fail unless all conditions hold."""
    that = call.needed("that")
    for part in that if isinstance(that, list) else [that]:
        if not call.scope.holds(part):
            told = call.arguments.get("fail_msg", "Assertion failed")
            return {"failed": True, "evaluated_to": False, "assertion": part, "msg": told}
    return {"changed": False, "msg": call.arguments.get("success_msg", "All assertions passed")}


async def fail(call: Call) -> Found:
    """Fail."""
    return failure(str(call.arguments.get("msg", "Failed as requested from task")))


async def pause(call: Call) -> Found:
    """Wait; nobody is there to be asked."""
    began = datetime.now()
    given = [(name, call.arguments[name]) for name in ("seconds", "minutes") if call.arguments.get(name) is not None]
    if not given:
        raise EvaluationError("pause without a time waits for a key, and nobody is there to press it", remedy="give seconds=")
    name, value = given[0]
    try:
        seconds = int(value) * (60 if name == "minutes" else 1)
    except (TypeError, ValueError):
        return failure(f"non-integer value given for prompt duration: {value!r}")
    await asyncio.sleep(max(seconds, 0))
    ended = datetime.now()
    shown = f"Paused for {round((ended - began).total_seconds() / (60 if name == 'minutes' else 1), 2)} {name}"
    return {
        "changed": False, "rc": 0, "stderr": "", "stdout": shown, "start": str(began), "stop": str(ended),
        "delta": int((ended - began).total_seconds()), "echo": call.flag("echo", True), "user_input": "",
    }  # fmt: skip


async def async_status(call: Call) -> Found:
    """Look at a task in the background."""
    number = str(call.needed("jid"))
    if call.arguments.get("mode") == "cleanup":
        return call.jobs.forget(call.target.host.name, number)
    return call.jobs.status(call.target.host.name, number)

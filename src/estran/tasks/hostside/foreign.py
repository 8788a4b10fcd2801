"""Ansible's own modules, unmodified, from a folder that the controller filled: imported once, then run in forks."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import site
import sys
from typing import Any

from estran.tasks.hostside.outcome import Failed

learned: dict[str, str] = {}


def learn(folder: str, oldest: list[int]) -> bool:
    """Put a folder on the path and import what all modules need."""
    if list(sys.version_info[:2]) < oldest:
        raise Failed(
            "Python {}.{} is too old for this ansible-core, whose modules need {}.{}".format(*sys.version_info[:2], *oldest)
        )
    if folder not in sys.path:
        site.main()  # modules may want packages of the host; nothing else does, so that workers start without them
        sys.path.insert(0, folder)
        learned["folder"] = folder
        sys.dont_write_bytecode = False
        importlib.invalidate_caches()
        importlib.import_module("ansible.module_utils.basic")
        gc.freeze()  # forks share what is there: nobody goes through it, and writes into it, to collect garbage
    return True


def run(module: str, arguments: dict[str, Any], output: int, errors: int) -> dict[str, Any]:
    """Run a module in this process, which is a fork, and read what it prints."""
    basic = importlib.import_module("ansible.module_utils.basic")
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": understood(arguments)}).encode()  # type: ignore[attr-defined]
    if hasattr(basic, "_ANSIBLE_PROFILE"):
        basic._ANSIBLE_PROFILE = "legacy"  # type: ignore[attr-defined]
    sys.argv = [module]
    atexit._clear()  # of what this process was forked from
    status: Any = 0
    try:
        names = {"_module_fqn": module, "_modlib_path": learned["folder"]}
        runpy.run_module(module, init_globals=names, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code
    atexit._run_exitfuncs()  # by which modules remove their temporary folders: this process does not end as others do
    sys.stdout.flush()
    sys.stderr.flush()
    text = whole(output)
    start = text.find("{")
    try:
        result = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise Failed("the module printed no result", module_stdout=text, module_stderr=whole(errors), rc=status)
    return result


def understood(arguments: dict[str, Any]) -> dict[str, Any]:
    """Without what only other versions of the foundation want to be told."""
    known = importlib.import_module("ansible.module_utils.common.parameters").PASS_VARS
    return {key: value for key, value in arguments.items() if not key.startswith("_ansible_") or key[9:] in known}


def whole(descriptor: int) -> str:
    """All that a temporary file holds."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    pieces = iter(lambda: os.read(descriptor, 1 << 20), b"")
    return b"".join(pieces).decode(errors="replace")

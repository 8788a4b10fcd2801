"""Native modules by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from estran.tasks.actions import commands, control, copying, fetching, gathering, plain, synchronizing, templates
from estran.tasks.call import Call, Found

ACTIONS: Final[Mapping[str, Callable[[Call], Awaitable[Found]]]] = {
    "command": commands.command, "shell": commands.shell, "raw": commands.raw, "script": commands.script,
    "copy": copying.copy, "template": templates.template, "fetch": fetching.fetch, "synchronize": synchronizing.synchronize,
    "file": plain.on_host, "stat": plain.on_host, "slurp": plain.on_host, "ping": plain.on_host, "get_url": plain.on_host,
    "wait_for": plain.on_host, "wait_for_connection": plain.wait_for_connection,
    "debug": control.debug, "set_fact": control.set_fact, "include_vars": control.include_vars, "assert": control.assert_,
    "fail": control.fail, "pause": control.pause, "async_status": control.async_status,
    "setup": gathering.setup, "gather_facts": gathering.setup,
}  # fmt: skip

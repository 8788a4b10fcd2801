"""Native modules by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from estran.tasks.actions import commands, control, copying, fetching, gathering, plain, synchronizing, templates
from estran.tasks.call import Call, Found

ON_HOST: Final = ("command", "shell", "file", "stat", "slurp", "ping", "get_url", "wait_for")
"""Modules all of whose work is done on the host, so that it may go on in the background."""
ACTIONS: Final[Mapping[str, Callable[[Call], Awaitable[Found]]]] = {
    "command": commands.command, "shell": commands.shell, "raw": commands.raw, "script": commands.script,
    "copy": copying.copy, "template": templates.template, "fetch": fetching.fetch, "synchronize": synchronizing.synchronize,
    **dict.fromkeys(ON_HOST[2:], plain.on_host), "wait_for_connection": plain.wait_for_connection,
    "debug": control.debug, "set_fact": control.set_fact, "include_vars": control.include_vars, "assert": control.assert_,
    "fail": control.fail, "pause": control.pause, "async_status": control.async_status,
    "setup": gathering.setup, "gather_facts": gathering.setup,
}  # fmt: skip

"""command, shell, raw and script."""

from __future__ import annotations

from typing import Any

from estran.tasks.call import Call, Found, failure


async def command(call: Call) -> Found:
    """Run a command without a shell."""
    return await _run(call, shell=False)


async def shell(call: Call) -> Found:
    """Run a line of a shell."""
    return await _run(call, shell=True)  # noqa: S604 - the task asks for it


async def _run(call: Call, *, shell: bool) -> Found:
    text = call.text if call.text is not None else call.arguments.get("cmd")
    argv = call.arguments.get("argv")
    if text is None and argv is None:
        return failure("one of the following is required: _raw_params, cmd, argv")
    if text is not None and argv is not None:
        return failure("only command or argv can be given, not both", rc=256)
    given: dict[str, Any] = {key: value for key, value in call.arguments.items() if key not in ("cmd", "argv", "warn")}
    words = None if argv is None else [str(word) for word in argv]
    return await call.perform("command", {**given, "text": None if text is None else str(text), "argv": words, "shell": shell})


async def raw(call: Call) -> Found:
    """Run a line of a shell, and tell only what it printed."""
    text = call.text if call.text is not None else call.arguments.get("cmd")
    if not text:
        return failure("no command given", rc=256)
    told = await call.perform(
        "command",
        {"text": str(text), "shell": True, "executable": call.arguments.get("executable"), "strip_empty_ends": False},
    )
    kept = {key: value for key, value in told.items() if key in ("rc", "stdout", "stderr", "changed", "failed", "timedout")}
    return {**kept, "msg": told["msg"]} if told.get("failed") else kept


async def script(call: Call) -> Found:
    """Send a program and run it."""
    text = call.text if call.text is not None else call.arguments.get("cmd")
    if not text:
        return failure("missing required arguments: _raw_params")
    name, _, words = str(text).strip().partition(" ")
    path = call.find("files", name.strip("'\""))
    given = {key: value for key, value in call.arguments.items() if key != "cmd"}
    return await call.perform("script", {**given, "name": path.name, "words": words.strip()}, path.read_bytes())

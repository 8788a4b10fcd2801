"""Commands, shells and scripts on a host."""

from __future__ import annotations

import datetime
import glob
import os
import selectors
import shlex
import subprocess
import tempfile
from typing import Any

from estran.tasks.hostside.outcome import Failed, boolean

OFFERED = ("command", "script", "ping")
QUIET = 0.1
"""Seconds between looks whether a command has ended whose children still hold its output open."""


def ping(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Answer."""
    return {"ping": arguments.get("data", "pong"), "changed": False}


def command(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Run a command (a list, or text that is split) or, if ``shell``, a line of a shell."""
    shell = arguments.get("shell", False)
    text = arguments.get("text") or ""
    argv = arguments.get("argv")
    if not argv and not text.strip():
        raise Failed("no command given", rc=256, changed=False)
    shown: Any = text if shell else [str(part) for part in argv] if argv else split(text)
    folder = arguments.get("chdir")
    if folder:
        folder = os.path.abspath(expanded(folder))
        try:
            os.chdir(folder)
        except OSError:
            nothing = {"rc": None, "start": None, "end": None, "delta": None, "stdout": "", "stderr": ""}
            raise Failed("Unable to change directory before execution.", cmd=shown, changed=False, **nothing) from None
    skipped = unneeded(arguments)
    if skipped is not None:
        return dict(skipped, cmd=shown)
    return told(shown, shell, arguments)


def split(text: str) -> list[str]:
    """Split a command into words."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Failed(f"cannot split the command into words: {error}", rc=256) from None


def expanded(text: str) -> str:
    """Expand variables of the environment, and ``~``."""
    return os.path.expanduser(os.path.expandvars(text))


def unneeded(arguments: dict[str, Any]) -> dict[str, Any] | None:
    """What is registered if ``creates`` or ``removes`` says that there is nothing to do."""
    for name, when, word in (("creates", True, "exists"), ("removes", False, "does not exist")):
        pattern = arguments.get(name)
        if pattern and bool(glob.glob(os.path.expanduser(pattern))) is when:
            out = f"skipped, since {pattern} {word}"
            msg = f"Did not run command since '{pattern}' {word}"
            return {
                "changed": False, "rc": 0, "stdout": out, "stderr": "", "start": None, "end": None, "delta": None, "msg": msg
            }  # fmt: skip
    return None


def told(shown: Any, shell: bool, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run and tell."""
    began = datetime.datetime.now()
    stdin = arguments.get("stdin")
    if stdin is not None and boolean(arguments, "stdin_add_newline", True):
        stdin = str(stdin) + "\n"
    if shell:
        argv = [arguments.get("executable") or "/bin/sh", "-c", shown]
    else:
        argv = [expanded(part) for part in shown] if boolean(arguments, "expand_argument_vars", True) else shown
    try:
        status, out, err = run(argv, None if stdin is None else str(stdin).encode())
    except OSError as error:
        line = shown if shell else " ".join(shown)
        raise Failed("Error executing command.", rc=error.errno, cmd=line, stdout="", stderr="", changed=False) from None
    ended = datetime.datetime.now()
    if boolean(arguments, "strip_empty_ends", True):
        out, err = out.rstrip("\r\n"), err.rstrip("\r\n")
    result = {
        "changed": True, "stdout": out, "stderr": err, "rc": status, "cmd": shown, "start": str(began), "end": str(ended),
        "delta": str(ended - began), "msg": ""
    }  # fmt: skip
    if status != 0:
        result.update(failed=True, msg="non-zero return code")
    return result


def run(argv: list[str], stdin: bytes | None) -> tuple[int, str, str]:
    """Run to the end; a child that stays behind and holds the output open is not waited for."""
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    kept = {"out": bytearray(), "err": bytearray()}
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("out", process.stdout), ("err", process.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, name)
        if process.stdin is not None:
            selector.register(process.stdin, selectors.EVENT_WRITE, "in")
        left = memoryview(stdin or b"")
        while selector.get_map():
            over = process.poll() is not None
            ready = selector.select(0 if over else QUIET)
            if over and not ready:
                break
            for key, _ in ready:
                if key.data == "in":
                    left = fed(selector, key.fileobj, left)
                    continue
                some = os.read(key.fd, 1 << 16)
                kept[key.data] += some
                if not some:
                    selector.unregister(key.fileobj)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return process.wait(), kept["out"].decode(errors="surrogateescape"), kept["err"].decode(errors="surrogateescape")


def fed(selector: selectors.BaseSelector, pipe: Any, left: memoryview) -> memoryview:
    """Give a command some of its input; close it after the last."""
    try:
        left = left[os.write(pipe.fileno(), left[: 1 << 15]) :]
    except BrokenPipeError:
        left = left[:0]
    if not left:
        selector.unregister(pipe)
        pipe.close()
    return left


def script(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Run a program that was sent, with its arguments."""
    skipped = unneeded(arguments)
    if skipped is not None:
        word = "exists, matching creates" if arguments.get("creates") else "does not exist, matching removes"
        pattern = arguments.get("creates") or arguments.get("removes")
        return {"changed": False, "skipped": True, "msg": f"{pattern} {word} option"}
    if arguments.get("chdir"):
        os.chdir(os.path.expanduser(arguments["chdir"]))
    descriptor, path = tempfile.mkstemp(prefix="estran-", suffix=os.path.splitext(arguments["name"])[1])
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(path, 0o700)
        line = " ".join(part for part in (arguments.get("executable"), shlex.quote(path), arguments.get("words")) if part)
        status, out, err = run(["/bin/sh", "-c", line], None)
    finally:
        os.unlink(path)
    result = {"changed": True, "rc": status, "stdout": out, "stderr": err}
    if status != 0:
        result.update(failed=True, msg="non-zero return code")
    return result

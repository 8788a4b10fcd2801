"""copy: content, files and folders to a host, or from one place of it to another."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

from estran.tasks.call import Call, Found, failure

SMALL: Final = 1 << 16
"""Content of so many bytes is sent without asking first whether it is there."""
LARGE: Final = 8 << 20
"""From so many bytes on, content goes by way of a file on the host."""
AT_ONCE: Final = 8
"""Files of a folder that are under way at a time."""


async def copy(call: Call) -> Found:
    """Copy."""
    source, content = call.arguments.get("src"), call.arguments.get("content")
    if source is None and content is None:
        return failure("src (or content) is required")
    if source is not None and content is not None:
        return failure("src and content are mutually exclusive")
    if call.arguments.get("dest") is None:
        return failure("dest is required")
    if content is not None:
        return await place(call, _bytes(content), None, str(call.arguments["dest"]))
    if call.flag("remote_src"):
        return await call.perform("copy_there", call.arguments)
    return await _from_here(call, str(source))


def _bytes(content: Any) -> bytes:
    if isinstance(content, (dict, list)):
        return json.dumps(content).encode()
    return str(content).encode("utf-8", "surrogateescape")


async def _from_here(call: Call, source: str) -> Found:
    path = call.find("files", source)
    if await asyncio.to_thread(path.is_dir):
        return await _folder(call, path, source)
    return await place(call, path.read_bytes(), path.name, str(call.arguments["dest"]), mode_of=path)


async def place(
    call: Call, content: bytes, name: str | None, dest: str, *, mode_of: Path | None = None, known: str | None = None
) -> Found:
    """Put content into its place on the host.

    Parameters
    ----------
    name
        Of the file, if ``dest`` is a folder.
    mode_of
        The file whose mode counts if it is to be preserved.
    known
        SHA-1 of what is there, if that has been asked for.
    """
    arguments = {key: value for key, value in call.arguments.items() if key not in ("src", "content", "remote_src")}
    arguments |= {"dest": dest, "name": name}
    if arguments.get("mode") == "preserve" and mode_of is not None:
        arguments["mode"] = mode_of.stat().st_mode & 0o7777  # noqa: ASYNC240 - a stat does not block
    if len(content) <= SMALL:
        return await call.perform("place", arguments, content)
    target = os.path.join(dest, name) if name is not None and dest.endswith("/") else dest  # noqa: PTH118 - of the host
    there = known if known is not None else await _checksum(call, target, name)
    if there == hashlib.sha1(content).hexdigest():  # noqa: S324 - to compare, as Ansible does
        return await call.perform("place", {**arguments, "same": there})
    if len(content) < LARGE:
        return await call.perform("place", arguments, content)
    return await call.perform("place", {**arguments, "staged": await _staged(call, content), "drop": True})


async def _checksum(call: Call, target: str, name: str | None) -> str | None:
    """SHA-1 of a file on the host; of that name if a folder is there."""
    found = await call.perform("checksum", {"path": target, "name": name})
    return found.get("sha1")


async def _staged(call: Call, content: bytes) -> str:
    """Put content where the task's user can read it on the host."""
    path = f"{call.target.scratch}/staged-{hashlib.sha256(content).hexdigest()}"
    await call.target.host.put_bytes(content, path, mode=0o644 if call.user.name else 0o600)
    if call.user.name:
        await call.target.reveal()
    return path


async def _folder(call: Call, path: Path, source: str) -> Found:
    """Copy a folder, or what it holds if its name ends with a slash."""
    dest = str(call.arguments["dest"])
    target = dest if source.endswith("/") else os.path.join(dest, path.name)  # noqa: PTH118 - of the host
    files, folders = await asyncio.to_thread(listed, path)
    there = (await call.perform("survey", {"path": target}))["files"]
    made = await call.perform("folders", {**call.arguments, "dest": target, "folders": ["", *folders]})
    if made.get("failed"):
        return made
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, sha1: str) -> Found:
        async with turns:
            inner = os.path.join(target, name)  # noqa: PTH118 - of the host
            if there.get(name) == sha1:
                return await _settled(call, inner)
            return await place(call, (path / name).read_bytes(), None, inner, mode_of=path / name, known=there.get(name, ""))

    results = await asyncio.gather(*(one(name, sha1) for name, sha1 in files.items()))
    for result in results:
        if result.get("failed"):
            return result
    changed = bool(made["changed"]) or any(result["changed"] for result in results)
    return {"dest": os.path.join(dest, ""), "src": source, "changed": changed}  # noqa: PTH118 - of the host


async def _settled(call: Call, path: str) -> Found:
    """Give a file that is there the attributes that are asked for."""
    wanted = {key: call.arguments[key] for key in ("mode", "owner", "group") if call.arguments.get(key) is not None}
    wanted.pop("mode", None) if wanted.get("mode") == "preserve" else None
    return await call.perform("file", {"path": path, "state": "file", **wanted}) if wanted else {"changed": False}


def listed(top: Path) -> tuple[dict[str, str], list[str]]:
    """SHA-1 of all files of a folder, and its folders, by their names in it; links are followed."""
    files: dict[str, str] = {}
    folders: list[str] = []
    for folder, names, inner in os.walk(top, followlinks=True):
        names.sort()
        here = Path(folder)
        folders += [(here / name).relative_to(top).as_posix() for name in names]
        for name in sorted(inner):
            content = (here / name).read_bytes()
            files[(here / name).relative_to(top).as_posix()] = hashlib.sha1(content).hexdigest()  # noqa: S324 - to compare
    return files, folders

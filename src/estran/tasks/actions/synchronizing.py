"""synchronize: a folder or file to a host or from it, by checksums; what is the same is not sent."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from estran.tasks.actions.copying import listed, place
from estran.tasks.call import Call, Found, failure


async def synchronize(call: Call) -> Found:
    """Push or pull."""
    mode, delete = str(call.arguments.get("mode") or "push"), call.flag("delete")
    if mode == "push":
        return await _push(call, str(call.needed("src")), str(call.needed("dest")), delete)
    if mode == "pull":
        return await _pull(call, str(call.needed("src")), str(call.needed("dest")), delete)
    return failure(f"value of mode must be one of: push, pull, got: {mode}")


async def _push(call: Call, source: str, dest: str, delete: bool) -> Found:
    path = call.find("files", source)
    call.arguments = {"directory_mode": None}
    if path.is_file():
        return _told(await place(call, path.read_bytes(), path.name, dest, mode_of=path), [path.name])
    target = dest if source.endswith("/") else os.path.join(dest, path.name)  # noqa: PTH118 - of the host
    files, folders = await asyncio.to_thread(listed, path)
    there = await call.perform("survey", {"path": target})
    made = await call.perform("folders", {"dest": target, "folders": ["", *folders]})
    sent: list[str] = []
    for name in (name for name, sha1 in files.items() if there["files"].get(name) != sha1):
        call.arguments = {"mode": (path / name).stat().st_mode & 0o7777}
        inner = os.path.join(target, name)  # noqa: PTH118 - of the host
        done = await place(call, (path / name).read_bytes(), None, inner, known=there["files"].get(name, ""))
        if done.get("failed"):
            return done
        sent.append(name)
    gone: list[str] = []
    if delete:
        gone = (await call.perform("remove_others", {"path": target, "kept": [*files, *folders]}))["removed"]
    return _told({"changed": bool(made["changed"] or sent or gone)}, [*sent, *(f"*deleting {name}" for name in gone)])


async def _pull(call: Call, source: str, dest: str, delete: bool) -> Found:
    there = await call.perform("survey", {"path": source})
    if there["kind"] == "absent":
        return failure(f"there is no {source} on {call.target.host.name}", rc=23)
    local = call.finder.home() / dest
    if there["kind"] == "directory" and not source.endswith("/"):
        local /= os.path.basename(source)  # noqa: PTH119 - of the host
    if there["kind"] == "file" and (dest.endswith("/") or local.is_dir()):
        local /= os.path.basename(source)  # noqa: PTH119 - of the host
    own: dict[str, str] = await asyncio.to_thread(lambda: listed(local)[0]) if local.is_dir() else {}
    brought: list[str] = []
    for name in (name for name, sha1 in there["files"].items() if own.get(name) != sha1):
        found, content = await call.perform_with_bytes("read", {"path": f"{source.rstrip('/')}/{name}" if name else source})
        if found.get("failed"):
            return found
        _write(local / name if name else local, content, found)
        brought.append(name)
    gone = _clear(local, {*there["files"], *there["folders"]}) if delete and there["kind"] == "directory" else []
    return _told({"changed": bool(brought or gone)}, [*brought, *(f"*deleting {name}" for name in gone)])


def _write(path: Path, content: bytes, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.chmod(found["mode"])
    part.replace(path)


def _clear(top: Path, kept: set[str]) -> list[str]:
    gone = []
    for path in sorted(top.rglob("*"), reverse=True):
        name = path.relative_to(top).as_posix()
        if name not in kept:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            gone.append(name)
    return gone


def _told(done: Found, names: list[str]) -> Found:
    if done.get("failed"):
        return done
    lines = names if done["changed"] else []
    return {"changed": done["changed"], "rc": 0, "msg": "\n".join(lines), "stdout_lines": lines}

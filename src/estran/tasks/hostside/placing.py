"""Putting content into its place on a host: what ``copy`` and ``template`` do there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from typing import Any

from estran.tasks.hostside import attributes
from estran.tasks.hostside.files import digest, make_folders
from estran.tasks.hostside.outcome import Failed, boolean, needed

OFFERED = ("place", "copy_there", "folders", "remove_others")


def place(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Put bytes, or a file that lies ready on the host (``staged``), into ``dest``; nothing if that has the hash ``same``."""
    staged = arguments.get("staged")
    sha1 = arguments.get("same") or (digest(staged) if staged else hashlib.sha1(data).hexdigest())
    dest = destination(arguments, sha1)
    there = os.path.exists(dest)
    if there and not boolean(arguments, "force", True):
        return {"changed": False, "dest": dest, "undescribed": True}
    if there and digest(dest) == sha1:
        changed = attributes.settle(dest, arguments, changed=False, follow=True)
        return {"path": dest, "dest": dest, "changed": changed, "checksum": sha1}
    result = {"dest": dest, "checksum": sha1, "changed": True}
    if there and boolean(arguments, "backup"):
        result["backup_file"] = save(dest)
    result["md5sum"] = digest(staged, "md5") if staged else hashlib.md5(data).hexdigest()
    write(dest, data, staged, arguments.get("validate"), sha1)
    attributes.settle(dest, arguments, changed=True)
    if staged and arguments.get("drop"):
        with contextlib.suppress(OSError):
            os.unlink(staged)
    return result


def destination(arguments: dict[str, Any], sha1: str) -> str:
    """Where the content goes: into a folder that is named, else to the path itself."""
    dest = str(os.path.expanduser(os.path.expandvars(needed(arguments, "dest"))))
    name = arguments.get("name")
    if dest.endswith("/") or os.path.isdir(dest):
        if name is None:
            raise Failed("can not use content with a dir as dest")
        if not os.path.isdir(dest):
            made: dict[str, Any] = {key: arguments[key] for key in ("owner", "group") if key in arguments}
            make_folders(dest, dict(made, mode=arguments.get("directory_mode")))
        dest = os.path.join(dest, name)
    if boolean(arguments, "follow") and os.path.islink(dest):
        dest = os.path.realpath(dest)
    folder = os.path.dirname(os.path.abspath(dest))
    if not os.path.isdir(folder):
        raise Failed(f"Destination directory {os.path.dirname(dest)} does not exist", checksum=sha1)
    return dest


def save(path: str) -> str:
    """Copy a file beside itself; return the copy."""
    kept = "{}.{}.{}~".format(path, os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))
    shutil.copy2(path, kept)
    return kept


def write(dest: str, data: bytes, staged: str | None, validate: str | None, sha1: str) -> None:
    """Write beside the place, let it be validated, and move it there at one go; owner and mode of what was there stay."""
    descriptor, beside = tempfile.mkstemp(prefix=".estran-", dir=os.path.dirname(os.path.abspath(dest)))
    try:
        with os.fdopen(descriptor, "wb") as file:
            if staged:
                with open(staged, "rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(data)
        if validate:
            check(validate, beside, sha1)
        like(dest, beside)
        os.replace(beside, dest)
    except OSError as error:
        raise Failed(f"could not write {dest}: {error.strerror or error}", dest=dest) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)


def like(dest: str, beside: str) -> None:
    """Give a new file the owner and mode of what it replaces, or those of any new file."""
    if os.path.lexists(dest) and not os.path.islink(dest):
        old = os.stat(dest)
        os.chmod(beside, stat.S_IMODE(old.st_mode))
        with contextlib.suppress(PermissionError):
            os.chown(beside, old.st_uid, old.st_gid)
        return
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(beside, 0o666 & ~umask)


def check(validate: str, path: str, sha1: str) -> None:
    """Run the command that judges new content."""
    if "%s" not in validate:
        raise Failed(f"validate must contain %s: {validate}")
    done = subprocess.run(shlex.split(validate % path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        told = {"stdout": done.stdout.decode(errors="replace"), "stderr": done.stderr.decode(errors="replace")}
        raise Failed("failed to validate", exit_status=done.returncode, checksum=sha1, **told)


def copy_there(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Copy from one place of the host to another."""
    source = os.path.expanduser(needed(arguments, "src"))
    if not os.path.exists(source):
        raise Failed(f"Source {source} not found")
    if arguments.get("mode") == "preserve":
        arguments = dict(arguments, mode=stat.S_IMODE(os.stat(source).st_mode))
    if os.path.isdir(source):
        return copy_folder(source, arguments)
    result = place(dict(arguments, staged=source, name=os.path.basename(source)), b"")
    return {**result, "src": source}


def copy_folder(source: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Copy a folder into ``dest``, or what it holds if its name ends with a slash."""
    dest = os.path.expanduser(needed(arguments, "dest"))
    target = dest if source.endswith("/") else os.path.join(dest, os.path.basename(source))
    there = os.path.isdir(dest)
    changed = folders(dict(arguments, dest=target, folders=[""]), b"")["changed"]
    for folder, names, files in os.walk(source):
        inner = os.path.relpath(folder, source)
        made = [os.path.normpath(os.path.join(inner, name)) for name in names]
        changed |= folders(dict(arguments, dest=target, folders=made), b"")["changed"]
        for name in files:
            path = os.path.join(folder, name)
            own = dict(arguments, dest=os.path.normpath(os.path.join(target, inner, name)), staged=path)
            if own.get("mode") is None:
                own["mode"] = stat.S_IMODE(os.stat(path).st_mode)
            changed |= place(own, b"")["changed"]
    shown = target if there else dest
    return {"dest": shown, "src": source, "changed": changed, "md5sum": None, "checksum": None}


def folders(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Make folders below ``dest``."""
    dest = os.path.expanduser(arguments["dest"])
    made = {key: arguments[key] for key in ("owner", "group") if arguments.get(key) is not None}
    wanted = dict(made, mode=arguments.get("directory_mode"))
    changed = False
    for name in arguments["folders"]:
        path = os.path.join(dest, name) if name else dest
        changed |= make_folders(path.rstrip("/") or "/", wanted)
        if arguments.get("directory_mode") is not None or made:
            changed = attributes.settle(path, wanted, changed)
    return {"changed": changed}


def remove_others(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Remove from a folder all files and folders that are not listed."""
    top, kept = os.path.expanduser(arguments["path"]), set(arguments["kept"])
    removed = []
    for folder, names, files in os.walk(top, topdown=False):
        for name in files + names:
            path = os.path.join(folder, name)
            if os.path.relpath(path, top) in kept:
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            else:
                os.unlink(path)
            removed.append(os.path.relpath(path, top))
    return {"changed": bool(removed), "removed": removed}

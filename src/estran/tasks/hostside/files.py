"""Files and folders on a host: states, attributes, questions."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import shutil
import stat as bits
import subprocess
import time
from typing import Any

from estran.tasks.hostside import attributes
from estran.tasks.hostside.outcome import Failed, boolean, needed

OFFERED = ("file", "stat", "slurp", "read", "checksum", "survey")
PIECE = 1 << 20


def digest(path: str, kind: str = "sha1") -> str:
    """Hash of a file."""
    made = hashlib.new(kind)
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            made.update(piece)
    return made.hexdigest()


def file(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Bring a path into a state."""
    path = os.path.expanduser(os.path.expandvars(needed(arguments, "path")))
    wanted = arguments.get("state") or default_state(path, arguments)
    if boolean(arguments, "recurse") and wanted != "directory":
        raise Failed("recurse option requires state to be 'directory'", path=path)
    states = {"directory": directory, "absent": absent, "touch": touch, "link": link, "hard": hard, "file": present}
    if wanted not in states:
        raise Failed(f"value of state must be one of: absent, directory, file, hard, link, touch, got: {wanted}")
    return states[wanted](path, arguments)


def default_state(path: str, arguments: dict[str, Any]) -> str:
    """Leave what is there as it is."""
    if os.path.lexists(path):
        return attributes.state(path)
    return "directory" if boolean(arguments, "recurse") else "file"


def following(path: str, arguments: dict[str, Any]) -> str:
    """Where a link leads, unless it is itself meant."""
    return os.path.realpath(path) if boolean(arguments, "follow", True) and os.path.islink(path) else path


def present(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Set the attributes of a file."""
    path = following(path, arguments)
    found = attributes.state(path)
    if found not in ("file", "hard"):
        raise Failed(f"file ({path}) is {found}, cannot continue", path=path, state=found)
    changed = attributes.settle(path, arguments, changed=False)
    return {"path": path, "changed": changed}


def directory(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make a folder and those above it."""
    path = following(path, arguments)
    found = attributes.state(path)
    changed = False
    if found == "absent":
        changed = make_folders(path, arguments)
    elif found != "directory":
        raise Failed(f"{path} already exists as a {found}", path=path)
    changed = attributes.settle(path, arguments, changed)
    if boolean(arguments, "recurse"):
        changed = recurse(path, arguments, changed)
    return {"path": path, "changed": changed}


def make_folders(path: str, arguments: dict[str, Any]) -> bool:
    """Make a folder and all that is missing above it, each with the attributes asked for."""
    missing = []
    here = os.path.abspath(path)
    while not os.path.isdir(here):
        missing.append(here)
        here = os.path.dirname(here)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except OSError as error:
            why = f"There was an issue creating {folder} as requested: {error}"
            raise Failed(why, path=path) from None
        attributes.settle(folder, arguments, changed=True)
    return bool(missing)


def recurse(path: str, arguments: dict[str, Any], changed: bool) -> bool:
    """Set attributes of all that a folder holds."""
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            inner = os.path.join(folder, name)
            if os.path.islink(inner):
                if boolean(arguments, "follow", True) and os.path.exists(inner):
                    changed = attributes.settle(os.path.realpath(inner), arguments, changed)
            else:
                changed = attributes.settle(inner, arguments, changed)
    return changed


def absent(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Remove a path and all below it."""
    there = os.path.lexists(path)
    if there:
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise Failed(f"unlinking failed: {error}", path=path) from None
    return {"path": path, "changed": there, "state": "absent"}


def touch(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make an empty file if there is none, and set its times."""
    path = following(path, arguments)
    before = os.stat(path) if os.path.exists(path) else None
    if before is None:
        try:
            with open(path, "wb"):
                pass
        except OSError as error:
            raise Failed(f"Error, could not touch target: {error}", path=path) from None
    changed = set_times(path, arguments, before)
    changed = attributes.settle(path, arguments, changed)
    return {"dest": path, "changed": changed}


def set_times(path: str, arguments: dict[str, Any], before: os.stat_result | None) -> bool:
    """Set times to ``now``, leave them (``preserve``), or read them; return whether anything changed."""
    now = time.time()
    times = []
    for name, old in (("access_time", "st_atime"), ("modification_time", "st_mtime")):
        wanted = arguments.get(name) or "now"
        if wanted == "preserve":
            times.append(now if before is None else getattr(before, old))
        elif wanted == "now":
            times.append(now)
        else:
            form = arguments.get(name + "_format") or "%Y%m%d%H%M.%S"
            try:
                times.append(time.mktime(time.strptime(wanted, form)))
            except ValueError as error:
                raise Failed(f"Error while obtaining timestamp for time {wanted}: {error}", path=path) from None
    if before is not None and times == [before.st_atime, before.st_mtime]:
        return False
    os.utime(path, (times[0], times[1]))
    return True


def link(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make a symbolic link."""
    source, force = arguments.get("src"), boolean(arguments, "force")
    found = attributes.state(path)
    if source is None and found == "link":
        source = os.readlink(path)
    if source is None:
        raise Failed("src is required for creating new symlinks", path=path, dest=path)
    source = os.path.expanduser(str(source))
    if found == "directory" and not os.path.islink(path):
        if not force:
            path = os.path.join(path, os.path.basename(source))
        elif os.listdir(path):
            raise Failed(f"the directory {path} is not empty, refusing to convert it", path=path, dest=path)
        found = attributes.state(path)
    reached = os.path.join(os.path.dirname(os.path.abspath(path)), source)
    if not os.path.exists(reached) and not force:
        raise Failed(
            f"src file does not exist, use 'force=yes' if you really want to create the link: {reached}",
            path=path, src=source,
        )  # fmt: skip
    changed = False
    if found == "link":
        changed = os.readlink(path) != source
    elif found == "absent":
        changed = True
    elif not force:
        raise Failed(f"refusing to convert from {found} to symlink for {path}", path=path, dest=path)
    else:
        changed = True
    if changed:
        put_beside(path, lambda beside: os.symlink(source, beside))
    if boolean(arguments, "follow", True) and os.path.exists(path):
        changed = attributes.settle(os.path.realpath(path), arguments, changed)
    else:
        changed = attributes.settle(path, arguments, changed)
    return {"dest": path, "src": source, "changed": changed}


def hard(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make a hard link."""
    source, force = arguments.get("src"), boolean(arguments, "force")
    if source is None:
        return {"dest": path, "changed": attributes.settle(path, arguments, changed=False)}
    if not os.path.exists(source):
        raise Failed("src does not exist", path=path, dest=path, src=source)
    same = os.path.exists(path) and os.path.samefile(path, source)
    if os.path.lexists(path) and not same and not force:
        raise Failed("Cannot link, different hard link exists at destination", dest=path, src=source)
    if not same:
        put_beside(path, lambda beside: os.link(source, beside))
    changed = attributes.settle(path, arguments, changed=not same)
    return {"dest": path, "src": source, "changed": changed}


def put_beside(path: str, make: Any) -> None:
    """Make something beside its place and move it there at one go; an empty folder in its place goes."""
    beside = f"{os.path.dirname(os.path.abspath(path))}/.estran-{os.getpid()}-{time.monotonic_ns()}"
    try:
        make(beside)
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise Failed(f"Error while linking: {error}", path=path, dest=path) from None


def stat(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Say all of a file."""
    path = os.path.expanduser(os.path.expandvars(needed(arguments, "path")))
    follow = boolean(arguments, "follow")
    try:
        now = os.stat(path) if follow else os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return {"changed": False, "stat": {"exists": False}}
        raise Failed(error.strerror or str(error)) from None
    told = kinds(now.st_mode, path)
    for right, bit in (("wusr", 0o200), ("rusr", 0o400), ("xusr", 0o100), ("wgrp", 0o20), ("rgrp", 0o40), ("xgrp", 0o10),
                       ("woth", 2), ("roth", 4), ("xoth", 1), ("isuid", 0o4000), ("isgid", 0o2000)):  # fmt: skip
        told[right] = bool(now.st_mode & bit)
    told.update(
        uid=now.st_uid, gid=now.st_gid, size=now.st_size, inode=now.st_ino, dev=now.st_dev, nlink=now.st_nlink,
        atime=now.st_atime, mtime=now.st_mtime, ctime=now.st_ctime, blocks=now.st_blocks, block_size=now.st_blksize,
        device_type=now.st_rdev, readable=os.access(path, os.R_OK), writeable=os.access(path, os.W_OK),
        executable=os.access(path, os.X_OK), pw_name=attributes.user_name(now.st_uid), gr_name=attributes.group_name(now.st_gid),
    )  # fmt: skip
    if bits.S_ISLNK(now.st_mode):
        told.update(lnk_source=os.path.realpath(path), lnk_target=os.readlink(path))
    if bits.S_ISREG(now.st_mode) and told["readable"] and boolean(arguments, "get_checksum", True):
        told["checksum"] = digest(path, arguments.get("checksum_algorithm") or "sha1")
    if boolean(arguments, "get_mime", True):
        told.update(mime(path))
    if boolean(arguments, "get_attributes", True):
        told.update(flags(path))
    return {"changed": False, "stat": told}


def kinds(mode: int, path: str) -> dict[str, Any]:
    """What a path is."""
    return {
        "exists": True, "path": path, "mode": f"{bits.S_IMODE(mode):04o}", "isdir": bits.S_ISDIR(mode),
        "ischr": bits.S_ISCHR(mode), "isblk": bits.S_ISBLK(mode), "isreg": bits.S_ISREG(mode), "isfifo": bits.S_ISFIFO(mode),
        "islnk": bits.S_ISLNK(mode), "issock": bits.S_ISSOCK(mode),
    }  # fmt: skip


def asked(argv: list[str]) -> str | None:
    """What a program prints; None if there is none, or it fails."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def mime(path: str) -> dict[str, str]:
    """Type of a file by the program ``file``."""
    words = asked(["file", "--mime-type", "--mime-encoding", "--brief", path]) or ""
    kind, _, charset = words.partition("; charset=")
    return {"mimetype": kind or "unknown", "charset": charset or "unknown"}


FLAGS = {
    "A": "noatime", "C": "nocow", "D": "dirsync", "E": "encrypted", "I": "indexed", "N": "inline", "P": "project",
    "S": "synchronous", "T": "topdir", "V": "verity", "X": "blockdev", "a": "append", "c": "compressed", "d": "nodump",
    "e": "extents", "i": "immutable", "j": "journalled", "s": "zero", "t": "notail", "u": "undelete",
}  # fmt: skip


def flags(path: str) -> dict[str, Any]:
    """Flags of a file by the program ``lsattr``."""
    words = (asked(["lsattr", "-vd", path]) or "").split()
    if len(words) < 2:
        return {"version": None, "attributes": [], "attr_flags": ""}
    shown = words[1].replace("-", "")
    return {"version": words[0], "attributes": [FLAGS.get(flag, flag) for flag in shown], "attr_flags": shown}


def slurp(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Return a file as base 64."""
    path = os.path.expanduser(arguments.get("src") or needed(arguments, "path"))
    found = read({"path": path}, b"")
    if isinstance(found, dict):
        raise Failed(f"File not found: {path}" if found.get("absent") else found["msg"])
    return {"content": base64.b64encode(found[1]).decode(), "source": path, "encoding": "base64", "changed": False}


def read(arguments: dict[str, Any], data: bytes) -> Any:
    """Return the bytes of a file beside its hash and mode."""
    path = os.path.expanduser(arguments["path"])
    try:
        with open(path, "rb") as file:
            content = file.read()
            mode = bits.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        return {"failed": True, "absent": True, "msg": "the remote file does not exist"}
    except IsADirectoryError:
        return {"failed": True, "folder": True, "msg": "remote file is a directory, fetch cannot work on directories"}
    except PermissionError:
        return {"failed": True, "msg": f"file is not readable: {path}"}
    return {"sha1": hashlib.sha1(content).hexdigest(), "mode": mode}, content


def checksum(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Hashes of a file; of that ``name`` in it if it is a folder."""
    path = os.path.expanduser(os.path.expandvars(arguments["path"]))
    if arguments.get("name") is not None and os.path.isdir(path):
        path = os.path.join(path, arguments["name"])
    if not os.path.lexists(path):
        return {"failed": True, "absent": True, "msg": "the remote file does not exist"}
    if os.path.isdir(path):
        return {"failed": True, "msg": "remote file is a directory, fetch cannot work on directories"}
    if not os.access(path, os.R_OK):
        return {"failed": True, "msg": f"file is not readable: {path}"}
    return {"sha1": digest(path), "md5": digest(path, "md5"), "size": os.path.getsize(path)}


def survey(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """List what a folder holds: hashes of files, and folders, relative to it."""
    top = os.path.expanduser(arguments["path"])
    files, folders = {}, []
    if os.path.isfile(top):
        return {"kind": "file", "files": {"": digest(top)}, "folders": []}
    for folder, names, inner in os.walk(top):
        folders += [os.path.relpath(os.path.join(folder, name), top) for name in names]
        for name in inner:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                files[os.path.relpath(path, top)] = digest(path)
    return {"kind": "directory" if os.path.isdir(top) else "absent", "files": files, "folders": folders}

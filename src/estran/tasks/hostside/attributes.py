"""Mode, owner and group of files on a host."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import stat
from typing import Any

from estran.tasks.hostside.outcome import Failed

CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
BITS = {"r": 4, "w": 2, "x": 1}
SHIFTS = {"u": 6, "g": 3, "o": 0}


def settle(path: str, arguments: dict[str, Any], changed: bool, follow: bool = False) -> bool:
    """Give a file the mode, owner and group asked for; return whether anything changed by now."""
    uid, gid = owner(arguments.get("owner")), group(arguments.get("group"))
    now = os.stat(path) if follow else os.lstat(path)
    if (uid is not None and uid != now.st_uid) or (gid is not None and gid != now.st_gid):
        try:
            os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid, follow_symlinks=follow)
        except OSError as error:
            what = "chown" if uid is not None and uid != now.st_uid else "chgrp"
            raise Failed(f"{what} failed: {error.strerror}", path=path) from None
        changed = True
        now = os.stat(path) if follow else os.lstat(path)
    mode = arguments.get("mode")
    if mode is None or stat.S_ISLNK(now.st_mode):
        return changed
    wanted = read_mode(mode, now.st_mode)
    if wanted != stat.S_IMODE(now.st_mode):
        try:
            os.chmod(path, wanted)
        except OSError as error:
            raise Failed("chmod failed", path=path, details=str(error)) from None
        return True
    return changed


def owner(name: Any) -> int | None:
    """Number of a user."""
    if name is None:
        return None
    try:
        return int(name) if str(name).isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise Failed(f"chown failed: failed to look up user {name}") from None


def group(name: Any) -> int | None:
    """Number of a group."""
    if name is None:
        return None
    try:
        return int(name) if str(name).isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise Failed(f"chgrp failed: failed to look up group {name}") from None


def read_mode(mode: Any, now: int) -> int:
    """Bits of a mode: a number, octal text, or clauses such as ``u=rwX,go-w``."""
    if isinstance(mode, int) and not isinstance(mode, bool):
        return mode
    text = str(mode)
    if re.fullmatch("[0-7]+", text):
        return int(text, 8)
    bits = stat.S_IMODE(now)
    for clause in text.split(","):
        found = CLAUSE.fullmatch(clause)
        if found is None:
            raise Failed("mode must be in octal or symbolic form", details=f"bad symbolic permission for mode: {mode}")
        for operation, letters in re.findall("([-+=])([^-+=]*)", found.group(2)):
            bits = applied(bits, now, found.group(1), operation, letters)
    return bits


def applied(bits: int, now: int, who: str, operation: str, letters: str) -> int:
    """Bits after one operation; without a ``who`` the umask counts."""
    umask = os.umask(0)
    os.umask(umask)
    for person in "ugo" if "a" in who or not who else who:
        shift = SHIFTS[person]
        rights = 0
        for letter in letters:
            if letter in BITS:
                rights |= BITS[letter]
            elif letter == "X" and (stat.S_ISDIR(now) or bits & 0o111):
                rights |= 1
            elif letter in SHIFTS:
                rights |= (bits >> SHIFTS[letter]) & 7
        mask = rights << shift
        if not who:
            mask &= ~umask
        special = 0
        if "s" in letters and person in "ug":
            special = stat.S_ISUID if person == "u" else stat.S_ISGID
        if "t" in letters and person == "o":
            special = stat.S_ISVTX
        if operation == "+":
            bits |= mask | special
        elif operation == "-":
            bits &= ~(mask | special)
        else:
            bits = (bits & ~(7 << shift)) | mask | special
    return bits


def describe(result: dict[str, Any]) -> None:
    """Add to a result what is known of the file that it names, if there is one."""
    path = result.get("path", result.get("dest"))
    if result.pop("undescribed", False) or path is None or not os.path.exists(path):
        return
    now = os.lstat(path)
    result.update(
        uid=now.st_uid, gid=now.st_gid, owner=user_name(now.st_uid), group=group_name(now.st_gid),
        mode="{:04o}".format(stat.S_IMODE(now.st_mode)), state=state(path), size=now.st_size,
    )  # fmt: skip


def user_name(uid: int) -> str:
    """Name of a user, or his number."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def group_name(gid: int) -> str:
    """Name of a group, or its number."""
    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def state(path: str, follow: bool = False) -> str:
    """What a path is, in the words of the module ``file``."""
    if not os.path.lexists(path):
        return "absent"
    if os.path.islink(path) and not follow:
        return "link"
    if os.path.isdir(path):
        return "directory"
    return "hard" if os.stat(path).st_nlink > 1 else "file"

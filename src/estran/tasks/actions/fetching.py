"""fetch: files of a host to the controller."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Final

from estran.tasks.call import Call, Found, failure

LARGE: Final = 32 << 20
"""A file of more bytes comes in pieces, if the envoy's user may read it."""
MISSING: Final = "the remote file does not exist, not transferring, ignored"


async def fetch(call: Call) -> Found:
    """Fetch one file."""
    source, dest = str(call.needed("src")), str(call.needed("dest"))
    there = await call.perform("checksum", {"path": source})
    if there.get("failed"):
        return _absent(call, source, there)
    local = _place(call, source, dest)
    before = _sha1(local)
    if before == there["sha1"]:
        return {"changed": False, "md5sum": there["md5"], "file": source, "dest": str(local), "checksum": before}
    content_sha1 = await _bring(call, source, local, there["size"])
    if call.flag("validate_checksum", True) and content_sha1 != there["sha1"]:
        return failure("checksum mismatch", checksum=content_sha1, dest=str(local), remote_checksum=there["sha1"], file=source)
    return {
        "changed": True, "md5sum": there["md5"], "dest": str(local), "remote_md5sum": None, "checksum": content_sha1,
        "remote_checksum": there["sha1"],
    }  # fmt: skip


def _absent(call: Call, source: str, there: Found) -> Found:
    if there.get("absent"):
        return failure(MISSING) if call.flag("fail_on_missing", True) else {"file": source, "changed": False, "msg": MISSING}
    return failure(str(there["msg"]))


def _place(call: Call, source: str, dest: str) -> Path:
    """Where the file goes: below ``dest`` by host and path, or just there if ``flat``."""
    path = os.path.expanduser(dest)  # noqa: PTH111 - as Ansible
    if call.flag("flat"):
        path = os.path.join(path, os.path.basename(source)) if path.endswith("/") else path  # noqa: PTH118, PTH119
    else:
        path = f"{path.rstrip('/')}/{call.state.name}/{source.lstrip('/')}"
    return Path(os.path.normpath(call.finder.home() / path))


def _sha1(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


async def _bring(call: Call, source: str, local: Path, size: int) -> str:
    """Bring the file here, whole; return the hash of what came."""
    if size > LARGE and call.user.name is None:
        await call.target.host.get(source, local)
        return await asyncio.to_thread(lambda: str(_sha1(local)))
    found, content = await call.perform_with_bytes("read", {"path": source})
    if found.get("failed"):
        return ""
    local.parent.mkdir(parents=True, exist_ok=True)
    part = local.with_name(local.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(local)
    finally:
        part.unlink(missing_ok=True)
    return hashlib.sha1(content).hexdigest()  # noqa: S324 - to compare, as Ansible does

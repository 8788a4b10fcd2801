"""template: files of the controller, rendered for each host."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path
from pwd import getpwuid
from typing import Any, Final

from estran.tasks.actions.copying import place
from estran.tasks.call import Call, Found

_SYNTAX: Final = (
    "block_start_string", "block_end_string", "variable_start_string", "variable_end_string", "comment_start_string",
    "comment_end_string",
)  # fmt: skip
_NEWLINES: Final = {"\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n"}


async def template(call: Call) -> Found:
    """Render and place."""
    path = call.find("templates", str(call.needed("src")))
    options: dict[str, Any] = {key: call.arguments[key] for key in _SYNTAX if call.arguments.get(key) is not None}
    options |= {"trim_blocks": call.flag("trim_blocks", True), "lstrip_blocks": call.flag("lstrip_blocks")}
    newline = str(call.arguments.get("newline_sequence", "\n"))
    options["newline_sequence"] = _NEWLINES.get(newline, newline)
    names = call.scope.inside((about(path, str(call.needed("dest"))), False))
    folders = [path.parent, *(folder / "templates" for folder in call.finder.folders), *call.finder.folders]
    text = call.scope.templates.render(path.read_text(encoding="utf-8"), names, folders, **options)
    content = text.encode(str(call.arguments.get("output_encoding") or "utf-8"))
    dropped = (*_SYNTAX, "trim_blocks", "lstrip_blocks", "newline_sequence", "output_encoding")
    call.arguments = {key: value for key, value in call.arguments.items() if key not in dropped}
    return await place(call, content, path.name, str(call.arguments["dest"]), mode_of=path)


def about(path: Path, dest: str) -> dict[str, Any]:
    """What a template may say of itself."""
    known = path.stat()
    try:
        owner = getpwuid(known.st_uid).pw_name
    except KeyError:
        owner = str(known.st_uid)
    return {
        "ansible_managed": "Ansible managed", "template_host": socket.gethostname(), "template_path": str(path),
        "template_fullpath": os.path.abspath(path), "template_destpath": dest, "template_uid": owner,  # noqa: PTH100 - links stay
        "template_mtime": datetime.fromtimestamp(known.st_mtime), "template_run_date": datetime.now(),
    }  # fmt: skip

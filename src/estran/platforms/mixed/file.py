"""Platform files of kind ``mixed``: which platform each layer is on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from estran.platforms.remote.source import Open
from estran.spec.document import Document
from estran.spec.platform_file import check_block, wrong_at
from estran.spec.schema import Name, Text

EMULATE = "emulate"


class MixedFile(Open):
    """The whole file."""

    platform: Literal["mixed"] = Field(description="Kind of the file.")
    layers: dict[Name, Text] = Field(
        min_length=1, description="For each layer a platform file, from this file's folder; or emulate."
    )


def read_mixed(document: Document) -> tuple[MixedFile, dict[str, Path]]:
    """Read a platform file of kind ``mixed``, and where the files are that it names, by layer.

    Raises
    ------
    SpecErrors
        All that is wrong with it, each at file:line:column.
    """
    entry = check_block(document, MixedFile)
    folder = Path(document.marks.file).resolve().parent
    files = {layer: folder / name for layer, name in entry.layers.items() if name != EMULATE}
    for layer, path in files.items():
        if not _is_file(path):
            raise wrong_at(
                document, ("layers", layer), f"there is no file {entry.layers[layer]}", "name a platform file, or emulate"
            )
    if entry.gateway is not None and entry.layers.get(entry.gateway, EMULATE) == EMULATE:
        raise wrong_at(document, ("gateway",), f"{entry.gateway} is no layer of real hosts", "name one that all others can dial")
    if len(files) < len(entry.layers) and files and entry.gateway is None:
        raise wrong_at(
            document, ("layers",), "nobody can dial emulated hosts, and no gateway passes their streams on",
            "add gateway: (a layer of real hosts that this machine can dial)",
        )  # fmt: skip
    return entry, files


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or a folder that may not be read
        return False

"""Platform files: what a user has of hosts, as YAML whose first key says of which kind it is (``platform: ssh``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from estran.errors import SpecError, SpecErrors
from estran.spec.document import Document, read_file
from estran.spec.marks import Path as Place
from estran.spec.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

M = TypeVar("M", bound="BaseModel")


def read_platform_file(path: Path, kinds: Iterable[str]) -> tuple[str, Document]:
    """Read a platform file, and say of which kind it is.

    Parameters
    ----------
    kinds
        Those that there are.

    Raises
    ------
    SpecErrors
        If it cannot be read, or is of none of them.
    """
    document = read_file(path)
    known, kind = sorted(kinds), document.data.get("platform")
    if "platform" not in document.data:
        document.complaints.add((), "the key 'platform' is missing", f"add platform: (one of {', '.join(known)})")
    elif not isinstance(kind, str) or kind not in known:
        document.complaints.add(("platform",), f"there is no platform {kind!r}", did_you_mean(str(kind), known, kind="platform"))
    document.complaints.stop_if_any()
    return str(kind), document


def check_block(document: Document, model: type[M], path: Place = ()) -> M:
    """A part of a document as a pydantic model.

    Raises
    ------
    SpecErrors
        All that is wrong with it, each at its place.
    """
    from pydantic import ValidationError

    from estran.spec.findings import findings
    from estran.spec.marks import look_up

    data = look_up(document.data, path)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for found in findings(error, data, model):
            place = (*path, *found.path)
            document.complaints.add(place, found.what, found.remedy, at="key" if found.on_key else "value")
    document.complaints.stop_if_any()
    raise AssertionError("what pydantic refuses is complained of")


def wrong_at(document: Document, path: Place, what: str, remedy: str | None = None) -> SpecErrors:
    """One error about a part of the document, to raise."""
    return SpecErrors([SpecError(what, where=document.marks.where(path), remedy=remedy)])

"""Checks blocks of E2Clab's files against their shapes; a known key mistyped among free ones is found, too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from estran.errors import Where
from estran.spec.e2clab.page import Page
from estran.spec.e2clab.schema import joined
from estran.spec.findings import findings
from estran.spec.marks import Path
from estran.spec.suggest import did_you_mean, slip

M = TypeVar("M", bound=BaseModel)


def block(page: Page, value: Any, shape: type[M], path: Path) -> M | None:
    """One block, or None if it is wrong; what is wrong goes to the page's complaints."""
    if not isinstance(value, Mapping):
        page.complaints.add(path, "must be a map", f"its keys are {', '.join(shape.model_fields)}")
        return None
    if shape.model_config.get("extra") == "allow":
        mistyped(page, value, list(shape.model_fields), path)
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        for found in findings(error, value, shape):
            page.complaints.add((*path, *found.path), found.what, found.remedy, at="key" if found.on_key else "value")
        return None


def mistyped(page: Page, value: Mapping[str, Any], known: Collection[str], path: Path) -> None:
    """Complain of free keys that are most likely meant to be known ones."""
    for key in value:
        meant = None if key in known else slip(key, known)
        if meant is not None:
            remedy = f"did you mean {meant!r}? Free keys may have any name that is not so near to a known one"
            page.complaints.add((*path, key), f"unknown key {key!r}", remedy, at="key")


def entries(page: Page, value: Any, path: Path, *, of: str) -> list[tuple[Path, Any]]:
    """The entries of a list with their paths; complains if it is none."""
    if value is None:
        return []
    if not isinstance(value, list):
        page.complaints.add(path, "must be a list", f"begin each {of} with '- '")
        return []
    return [((*path, index), entry) for index, entry in enumerate(value)]


def known_keys(page: Page, value: Mapping[str, Any], known: Collection[str], path: Path = ()) -> None:
    """Complain of keys that are none of the known ones."""
    for key in value:
        if key not in known:
            page.complaints.add((*path, key), f"unknown key {key!r}", did_you_mean(key, known, kind="key"), at="key")


def selectors(page: Page, value: Any, path: Path, keys: Collection[str]) -> None:
    """Keep the selectors of a block, to be looked up when all names are known; a list of them is their union."""
    if isinstance(value, Mapping):
        for key in keys:
            pattern = joined(value.get(key))
            if isinstance(pattern, str) and pattern:
                page.selectors[(*path, key)] = pattern


def where(page: Page, path: Path, *, key: bool = False) -> Where:
    """A place in a page."""
    return page.marks.where(path, "key" if key else "value")

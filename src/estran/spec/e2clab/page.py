"""One of a scenario's files as plain data: YAML 1.1, with the line and column of every key and value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from estran.errors import SpecError, SpecErrors, Where
from estran.spec.classic import scalar
from estran.spec.document import Reader, compose, read_utf8
from estran.spec.marks import Complaints, Marks, Path


@dataclass(slots=True)
class Page:
    """One of a scenario's files as plain data, with the marks of its parts and the complaints about it.

    Attributes
    ----------
    selectors
        Those that it has, by their paths, whatever else is wrong with the blocks around them.
    """

    data: Any
    marks: Marks
    complaints: Complaints
    selectors: dict[Path, str] = field(default_factory=dict)


def read_page(path: FilePath) -> Page:
    """Read one file; one without content has the data None.

    Raises
    ------
    SpecErrors
        If there is no such file, it is not UTF-8, or it is not YAML.
    """
    file = str(path)
    root = compose(read_utf8(path), file)
    marks = Marks(file)
    complaints = Complaints(marks)
    return Page(None if root is None else Reader(marks, complaints, scalar).value(root, ()), marks, complaints)


def refuse(page: Page, what: str, remedy: str) -> None:
    """Complain of a page as a whole."""
    page.complaints.add_at(Where(page.marks.file, 1, 1), what, remedy)


def combined(pages: list[Page], further: list[SpecError]) -> None:
    """Raise all that is wrong with several files, file by file in the order of their lines.

    Raises
    ------
    SpecErrors
        If there is anything.
    """
    found = [*further]
    for page in pages:
        try:
            page.complaints.stop_if_any()
        except SpecErrors as errors:
            found += errors.errors
    if found:
        raise SpecErrors(found)

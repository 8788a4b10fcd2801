"""The ``claims:`` block: every statement read, its factors and levels known, and what is wrong shown where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estran.errors import Where
from estran.spec.claim_parser import ClaimError, parse_claim
from estran.spec.claims import Claim, Measure
from estran.spec.factors import Levels
from estran.spec.marks import Complaints, Path
from estran.spec.suggest import did_you_mean


def read_claims(data: Mapping[str, Any], levels: Levels, complaints: Complaints) -> tuple[Claim, ...]:
    """Read all claims of a document; what is wrong with them goes to the complaints."""
    block = data.get("claims")
    if block is None:
        return ()
    if not isinstance(block, list):
        complaints.add(("claims",), "must be a list of statements", "write for example - latency_p99 <= 120ms")
        return ()
    found = [_claim(("claims", index), text, levels, complaints) for index, text in enumerate(block)]
    return tuple(claim for claim in found if claim is not None)


def _claim(path: Path, text: Any, levels: Levels, complaints: Complaints) -> Claim | None:
    if not isinstance(text, str):
        complaints.add(path, "must be text", "put the statement in quotes")
        return None
    try:
        claim = parse_claim(text)
        for measure in claim.measures:
            _known(measure, levels)
    except ClaimError as error:
        complaints.add_at(_where(path, error.offset, complaints), f"claims.{path[1]}: {error.what}", error.remedy)
        return None
    return claim


def _known(measure: Measure, levels: Levels) -> None:
    for name, level in measure.levels:
        if name not in levels:
            raise ClaimError(f"{name!r} is no factor", measure.offset, did_you_mean(name, levels, kind="factor"))
        if not any(level == known and type(level) is type(known) for known in levels[name]):
            known = [str(one) for one in levels[name]]
            raise ClaimError(f"{level!r} is no level of {name}", measure.offset, did_you_mean(str(level), known, kind="level"))


def _where(path: Path, offset: int, complaints: Complaints) -> Where:
    """The place within a text, as far as it stands on one line without escapes."""
    marks = complaints.marks
    where = marks.where(path)
    if where.column is None or path not in marks.values:
        return where
    return Where(where.file, where.line, where.column + offset + (path in marks.quoted))

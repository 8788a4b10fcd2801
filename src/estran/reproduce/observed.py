"""What claims are judged by: the responses of finished runs, each with its levels and its block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estran.errors import RequestError
from estran.observe.queries import open_run
from estran.reproduce.layout import kind_of
from estran.spec.claim_block import read_claims
from estran.spec.claims import Claim
from estran.spec.document import read_file, read_utf8
from estran.spec.factors import read_factors
from estran.study.folder import Folder
from estran.study.rows import cell


@dataclass(frozen=True, slots=True)
class Observation:
    """A finished run.

    Attributes
    ----------
    levels
        Of every factor, as cells of a table.
    block
        Number of the replicate; runs of one block have one seed.
    """

    levels: Mapping[str, str]
    block: int
    responses: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The claims of a description, and the finished runs of it; none where nothing is claimed."""

    claims: tuple[Claim, ...]
    observations: tuple[Observation, ...]


def evidence(path: Path) -> Evidence:
    """Claims of a run's or a study's folder, and its finished runs if there are any claims.

    Raises
    ------
    RequestError
        If it is neither.
    EstranError
        If it is damaged.
    """
    runs = _runs(path)
    claims = claims_of(runs[0][0]) if runs else ()
    return Evidence(claims, observations(path) if claims else ())


def observations(path: Path) -> tuple[Observation, ...]:
    """All finished runs of a folder; raises as `evidence` does."""
    return tuple(Observation(_levels(run), block, open_run(run).responses) for run, block in _runs(path) if _done(run))


def _runs(path: Path) -> list[tuple[Path, int]]:
    """Runs with their blocks."""
    kind = kind_of(path)
    if kind == "optimisation":
        raise RequestError("claims are judged by runs and studies", where=str(path), remedy="give one of its runs")
    return _study(path) if kind == "study" else [(path, 1)]


def claims_of(run: Path) -> tuple[Claim, ...]:
    """The claims of a run's description.

    Raises
    ------
    SpecErrors
        If the description cannot be read, or a claim is wrong.
    """
    file = run / "experiment.yaml"
    if not file.exists() or "claims" not in read_utf8(file):  # most claim nothing, and to parse YAML takes long
        return ()
    document = read_file(file)
    claims = read_claims(document.data, read_factors(document), document.complaints)
    document.complaints.stop_if_any()
    return claims


def _study(path: Path) -> list[tuple[Path, int]]:
    folder = Folder.open(path)
    outcomes = folder.outcomes()
    made = [(outcomes[row.run].folder, row.block) for row in folder.rows]
    return [(run, block) for run, block in made if run is not None]


def _done(run: Path) -> bool:
    return open_run(run).status.status == "done"


def _levels(run: Path) -> dict[str, str]:
    assignment = open_run(run).document("assignment") or {}
    return {name: cell(value) for name, value in assignment.get("factors", {}).items()}

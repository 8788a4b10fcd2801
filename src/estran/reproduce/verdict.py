"""The verdict on a reproduction: every claim, every response, every file that must be the same, and why what differs may differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from estran.errors import EstranError
from estran.explain.compare import Comparison, Difference, compare
from estran.observe.queries import open_run
from estran.reproduce import claims as judging
from estran.reproduce.claims import Judged
from estran.reproduce.differences import Changed, Differences, differences
from estran.reproduce.facts import facts, representatives
from estran.reproduce.identity import Identity, identity
from estran.reproduce.observed import evidence, observations

SCHEMA: Final = 1
MARGIN: Final = 0.10
"""Relative difference between a response and the recorded one that counts as none, unless another is given."""
POINT: Final = 0.01
"""Difference of a share (accuracy, loss) that counts as none, whatever the margin."""
MOST_REASONS: Final = 5
_MACHINE: Final = ("kernel", "model", "cores", "name", "os")

Outcome = Literal["confirmed", "not confirmed", "cannot tell"]
Kind = Literal["repeat", "reproduce", "replicate"]
KINDS: Final[Mapping[Kind, str]] = {
    "repeat": "the same platform on the same machine",
    "reproduce": "the same platform on another machine",
    "replicate": "another platform",
}


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim in the record and now, and the verdict on its reproduction.

    Attributes
    ----------
    verdict
        ``confirmed`` or ``not confirmed`` by the new runs; ``cannot tell`` where they cannot, nor could the record.
    reasons
        Where it is not confirmed: recorded facts that differ, most likely first, or that none does.
    """

    claim: str
    verdict: Outcome
    recorded: Judged
    again: Judged
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Responded:
    """A response in the record (A) and now (B): ``equivalent``, ``different``, or ``cannot tell``."""

    response: str
    verdict: Literal["equivalent", "different", "cannot tell"]
    difference: Difference


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reproduction found.

    Attributes
    ----------
    kind
        Repeat, reproduce or replicate, as recorded facts tell.
    files
        Of simulated records that were simulated again: whether they are the same; else None.
    absent
        Responses that only one side measured.
    environment
        Distributions that are not in the recorded version: name, recorded, used.
    """

    experiment: str
    crate: str
    record: str
    again: str
    kind: Kind
    verdict: Outcome
    because: str
    claims: tuple[Claimed, ...]
    files: Identity | None
    responses: tuple[Responded, ...]
    absent: tuple[str, ...]
    margin: float
    differences: Differences
    environment: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    schema: int = SCHEMA

    def plain(self) -> dict[str, Any]:
        """The content of ``verdict.json``."""
        return {**asdict(self), "differences": self.differences.plain()}


def judge(record: Path, again: Path, *, crate: str, experiment: str, margin: float = MARGIN, **more: Any) -> Verdict:
    """Compare a record with what was made again.

    Parameters
    ----------
    record, again
        Two folders of runs, or of studies.
    margin
        See `MARGIN`.
    more
        ``environment`` and ``warnings`` of the verdict.

    Raises
    ------
    EstranError
        If they have no finished run in common.
    """
    pair = representatives(record, again)
    if pair is None:
        raise EstranError("no finished run has a counterpart", where=str(again), remedy="see why: estran show RUN")
    found = differences(*pair)
    sides = [facts(run) for run in pair]
    simulated = all(side.get(("platform", "platform")) == "simulate" for side in sides)
    files = identity(record, again) if simulated else None
    claims = tuple(_claims(record, again, found))
    responses, absent = _responses(record, again, pair, margin)
    verdict, because = _overall(claims, files, responses)
    return Verdict(
        experiment, crate, str(record), str(again), _kind(*sides), verdict, because, claims, files, responses, absent, margin,
        found, **more,
    )  # fmt: skip


def _kind(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> Kind:
    if a.get(("platform", "platform")) != b.get(("platform", "platform")):
        return "replicate"
    same = all(a.get(("machine", name)) == b.get(("machine", name)) for name in _MACHINE)
    return "repeat" if same else "reproduce"


def _claims(record: Path, again: Path, found: Differences) -> list[Claimed]:
    """The record's claims, whatever the new runs' description says."""
    recorded = evidence(record)
    now = observations(again) if recorded.claims else ()
    made = []
    for claim in recorded.claims:
        before, after = judging.judge(claim, recorded.observations), judging.judge(claim, now)
        verdict: Outcome = "confirmed" if after.verdict == "confirmed" else "not confirmed"
        if after.verdict == before.verdict == "cannot tell":
            verdict = "cannot tell"
        reasons = reasons_of(found.changed) if verdict == "not confirmed" else ()
        made.append(Claimed(str(claim), verdict, before, after, reasons))
    return made


def reasons_of(changed: Sequence[Changed]) -> tuple[str, ...]:
    """The first of what differs in words, or that nothing does that was recorded."""
    if not changed:
        return ("no recorded fact differs: chance, or what is not recorded",)
    return tuple(f"{one.group}: {one}" for one in changed[:MOST_REASONS])


def _responses(record: Path, again: Path, pair: tuple[Path, Path], margin: float) -> tuple[tuple[Responded, ...], tuple[str, ...]]:
    compared: Comparison = compare(record, again, margin=margin)
    both = {difference.response for difference in compared.differences}
    measured = [set(open_run(run).responses) for run in pair]
    absent = sorted((measured[0] ^ measured[1]) - both)
    return tuple(Responded(one.response, _response(one, margin), one) for one in compared.differences), tuple(absent)


def _response(one: Difference, margin: float) -> Literal["equivalent", "different", "cannot tell"]:
    """By two one-sided tests; a share is also equivalent within a point; different where an interval excludes all that is close."""
    ends = one.absolute_ci95
    if one.verdict == "equivalent" or one.a == one.b or (one.unit == "fraction" and _within(ends, POINT)):
        return "equivalent"
    slack = max(margin * abs(one.a), POINT if one.unit == "fraction" else 0.0)
    return "different" if ends is not None and (ends[0] > slack or ends[1] < -slack) else "cannot tell"


def _within(ends: tuple[float, float] | None, slack: float) -> bool:
    return ends is not None and -slack <= ends[0] and ends[1] <= slack


MAIN: Final = ("accuracy", "latency", "throughput", "exchange_latency", "exchanges")
"""Responses that decide where there is no claim."""


def _overall(claims: Sequence[Claimed], files: Identity | None, responses: Sequence[Responded]) -> tuple[Outcome, str]:
    failed = sum(claim.verdict == "not confirmed" for claim in claims)
    confirmed = sum(claim.verdict == "confirmed" for claim in claims)
    wrong = [] if files is None or files.identical else [f"{len(files.differing)} of {files.files} files are not the same"]
    wrong += [f"{failed} of {len(claims)} claims are not confirmed"] if failed else []
    if wrong:
        return "not confirmed", ", and ".join(wrong)
    if files is None and not confirmed:
        return _by_responses([one for one in responses if one.response in MAIN])
    told = [] if files is None else [f"all {files.files} files are the same"]
    told += [f"{confirmed} of {len(claims)} claims are confirmed"] if claims else []
    told += [f"of {len(claims) - confirmed} the record could not tell either"] if confirmed < len(claims) else []
    return "confirmed", ", ".join(told)


def _by_responses(main: Sequence[Responded]) -> tuple[Outcome, str]:
    different = [one.response for one in main if one.verdict == "different"]
    if different:
        return "not confirmed", f"different: {', '.join(different)}"
    if main and all(one.verdict == "equivalent" for one in main):
        return "confirmed", "no claim, but " + ", ".join(one.response for one in main) + " are equivalent"
    return "cannot tell", "no claim decides, and of responses one cannot tell"

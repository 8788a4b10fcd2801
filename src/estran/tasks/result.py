"""What a task did on a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from estran.errors import Where

Status = Literal["ok", "changed", "skipped", "failed", "ignored", "unreachable"]
CENSORED: Final = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"


@dataclass(frozen=True, slots=True)
class Result:
    """One task on one host, as it is to be recorded.

    Attributes
    ----------
    tier
        How it was done: ``native``, ``module`` (Ansible's, unmodified) or ``playbook`` (by ``ansible-playbook``).
    data
        What was registered; nothing of it if the task says ``no_log``.
    seconds
        How long it took.
    """

    host: str
    task: str
    module: str
    where: Where
    status: Status
    tier: str
    data: Mapping[str, Any]
    seconds: float


@dataclass(slots=True)
class Report:
    """What a list of tasks did.

    Attributes
    ----------
    results
        In the order in which they ended.
    failed
        The result that ended the list on a host, by host.
    variables
        Of each host: what was registered and set.
    """

    results: list[Result] = field(default_factory=list)
    failed: dict[str, Result] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no host failed."""
        return not self.failed

    def of(self, host: str) -> list[Result]:
        """Results of one host."""
        return [result for result in self.results if result.host == host]


def status_of(data: Mapping[str, Any], *, ignored: bool) -> Status:
    """Say in one word what a registered result means."""
    if data.get("unreachable"):
        return "unreachable"
    if data.get("failed"):
        return "ignored" if ignored else "failed"
    if data.get("skipped"):
        return "skipped"
    return "changed" if data.get("changed") else "ok"


def censored(data: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a result only what tells nothing."""
    kept = {key: data[key] for key in ("changed", "failed", "skipped", "unreachable") if key in data}
    return {"censored": CENSORED, **kept}

"""How the work of several workers becomes one model: which policy, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from estran.learning.mistakes import SettingsError
from estran.units import Duration, Fraction

Kind: TypeAlias = Literal["synchronous", "local-sgd", "fedavg", "ssp", "asynchronous", "fedbuff"]

ROUNDS: Final = ("synchronous", "local-sgd", "fedavg")
"""Policies in which all who take part in a round begin with the same model, and the next round begins when they have answered."""
_USED: Final[dict[str, frozenset[str]]] = {
    "steps": frozenset({"local-sgd", "fedavg", "ssp", "asynchronous", "fedbuff"}),
    "epochs": frozenset({"fedavg", "asynchronous", "fedbuff"}),
    "fraction": frozenset({"fedavg"}),
    "weighting": frozenset(ROUNDS),
    "quorum": frozenset(ROUNDS),
    "staleness": frozenset({"ssp", "asynchronous", "fedbuff"}),
    "decay": frozenset({"asynchronous", "fedbuff"}),
    "buffer": frozenset({"fedbuff"}),
}
"""Settings that are not for every policy, and the policies that they are for."""
_RATES: Final[dict[str, float]] = {"asynchronous": 0.6}
_STEPS: Final[dict[str, int]] = {"local-sgd": 8}
_BUFFER: Final = 10
_BOUND: Final = 3
_QUORUM: Final = 0.5
_DECAY: Final = 0.5


@dataclass(frozen=True)
class Policy:
    """How models of several workers are brought together. What is left out has the default of the policy.

    Attributes
    ----------
    kind
        ``synchronous``: all begin a step with the same model, and the mean of theirs is the next one. ``local-sgd``: the same after
        several steps. ``fedavg``: rounds in which some of the workers, drawn anew, pass over the rows that they hold. ``ssp``:
        changes are added up as they come, and nobody is more than ``staleness`` answers ahead of the slowest.
        ``asynchronous``: every answer is mixed in as it comes, the staler the less. ``fedbuff``: so many changes are gathered
        before they are added.
    steps
        Local steps between two exchanges, each of ``batch`` rows of the stream.
    epochs
        Instead of steps: passes over the rows that a worker holds.
    batch
        Rows of a step.
    fraction
        Share of the workers that take part in a round, at least one.
    weighting
        What a worker's model weighs in the mean of a round: by the rows that it learned, or all alike.
    rate
        Length of the server's step: of the mean change in a round, of each change (over the number of workers) in ``ssp``, of the
        mean of a full buffer, or the share that a fresh answer has in the next model of `asynchronous`.
    staleness
        ``ssp``: how many answers the fastest may be ahead of the slowest; of the others: changes that were made from a model more
        versions old are refused.
    decay
        The a in (1 + τ)^-a, by which an answer of staleness τ weighs less.
    buffer
        How many changes make a new model.
    deadline
        After this time nobody waits for a worker any longer: it is left out until it is heard of again. Where that would leave
        nobody, all have as long again.
    quorum
        Share of those who take part that must have answered by then; a round with fewer is given up, and changes nothing.
    largest
        Answers that move the model further (in the Euclidean norm) are refused, as those with a NaN always are.
    """

    kind: Kind = "fedavg"
    steps: int | None = None
    epochs: int | None = None
    batch: int = 32
    fraction: Fraction | None = None
    weighting: Literal["samples", "equal"] | None = None
    rate: float | None = None
    staleness: int | None = None
    decay: float | None = None
    buffer: int | None = None
    deadline: Duration = 10.0
    quorum: Fraction | None = None
    largest: float | None = None

    def __post_init__(self) -> None:
        self._check_uses()
        for name in ("steps", "epochs", "batch", "buffer"):
            self._check(name, least=1, remedy="give 1 or more")
        for name in ("staleness", "decay"):
            self._check(name, least=0, remedy="give 0 or more")
        for name in ("fraction", "quorum"):
            self._check(name, above=0, most=1, remedy="give a share above 0 and up to 1")
        if self.kind == "asynchronous":
            self._check("rate", above=0, most=1, remedy="give a share above 0 and up to 1")
        self._check("rate", above=0, remedy="give more than 0")
        for name in ("deadline", "largest"):
            self._check(name, above=0, remedy="give more than 0")
        if self.steps is not None and self.epochs is not None:
            raise SettingsError("it has steps and epochs", where="policy", remedy="give one of them")

    @property
    def work(self) -> tuple[int, int]:
        """Steps and epochs of each answer, one of which is 0."""
        if self.epochs is not None or (self.kind == "fedavg" and self.steps is None):
            return 0, self.epochs or 1
        return self.steps or _STEPS.get(self.kind, 1), 0

    @property
    def share(self) -> float:
        """Of the workers, those who take part in a round."""
        return 1.0 if self.fraction is None else self.fraction

    @property
    def step(self) -> float:
        """Length of the server's step."""
        return _RATES.get(self.kind, 1.0) if self.rate is None else self.rate

    @property
    def bound(self) -> int | None:
        """How stale an answer may be (of `ssp`: how far ahead a worker may be); None for any."""
        return _BOUND if self.kind == "ssp" and self.staleness is None else self.staleness

    @property
    def gathered(self) -> int:
        """Changes that make a new model."""
        return (self.buffer or _BUFFER) if self.kind == "fedbuff" else 1

    @property
    def fading(self) -> float:
        """The a in (1 + τ)^-a."""
        return _DECAY if self.decay is None else self.decay

    @property
    def needed(self) -> float:
        """Share of those who take part without which a round is given up at its deadline."""
        return _QUORUM if self.quorum is None else self.quorum

    @property
    def by_rows(self) -> bool:
        """Whether models weigh by the rows that were learned."""
        return self.weighting != "equal"

    def _check_uses(self) -> None:
        for name, kinds in _USED.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                remedy = f"leave it out, or choose {' or '.join(sorted(kinds))}"
                raise SettingsError(f"{self.kind} has no {name}", where="policy", remedy=remedy)

    def _check(self, name: str, *, least: float = -1, above: float = -1, most: float | None = None, remedy: str) -> None:
        value = getattr(self, name)
        # Written so that a NaN is refused.
        if value is not None and not (value >= least and value > above and (most is None or value <= most)):
            raise SettingsError(f"{name} is {value}", where="policy", remedy=remedy)


def policy_choice(choice: Kind | Policy) -> Policy:
    """Read a short form."""
    return choice if isinstance(choice, Policy) else Policy(choice)

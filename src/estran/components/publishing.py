"""When a trainer publishes models, and in which form they travel."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from estran.components.messages import Model, ModelRequest, Samples
from estran.components.rolling import Pace
from estran.learning import registry
from estran.learning.holdout import Holdout
from estran.learning.learner import Features, Labels, Learner
from estran.learning.mistakes import SettingsError
from estran.learning.packing import Precision, packed, unpacked
from estran.learning.reacting import create_detector
from estran.runtime.component import Component
from estran.runtime.ports import Output
from estran.units import Duration, Fraction

Form: TypeAlias = Literal["full", "delta", "float16", "int8"]


@dataclass(frozen=True)
class DriftRule:
    """Publish where a detector finds that the trainer's own errors have changed.

    Attributes
    ----------
    detector
        By name, or one name with its settings: adwin, ddm, eddm, kswin, page-hinkley.
    after
        Rows to learn between the alarm and the publication.
    """

    detector: str | dict[str, dict[str, Any] | None] = "adwin"
    after: int = 0

    def __post_init__(self) -> None:
        create_detector(self.detector)
        if self.after < 0:
            raise SettingsError(f"after is {self.after}", where="publish.drift", remedy="give 0 rows or more")


@dataclass(frozen=True)
class GainRule:
    """Publish what answers held-out rows better than the model that was published last.

    Attributes
    ----------
    margin
        By how much more of them it must answer right.
    holdout
        Share of the rows that is held out: never learned from.
    recent
        Held-out rows that count: the newest.
    check
        Rows between two comparisons.
    """

    margin: Fraction = 0.02
    holdout: Fraction = 0.1
    recent: int = 100
    check: int = 50

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise SettingsError(f"holdout is {self.holdout}", where="publish.gain", remedy="give a share between 0 and 1, like 10%")
        if not 0 < self.margin < 1:
            raise SettingsError(f"margin is {self.margin}", where="publish.gain", remedy="give a share between 0 and 1, like 2%")
        if self.recent < 1 or self.check < 1:
            what = f"recent is {self.recent}, check is {self.check}"
            raise SettingsError(what, where="publish.gain", remedy="give 1 row or more for each")


@dataclass(frozen=True)
class Sending:
    """In which form models travel.

    Attributes
    ----------
    delta
        Only what has changed since the last full model.
    keyframe
        With delta: every so many models one is full.
    precision
        ``exact``, ``float16`` or ``int8``; with delta it is the changes that are rounded.
    """

    delta: bool = False
    keyframe: int = 10
    precision: Precision = "exact"

    def __post_init__(self) -> None:
        if self.keyframe < 1:
            raise SettingsError(f"keyframe is {self.keyframe}", where="publish.send", remedy="give 1 model or more")


@dataclass(frozen=True)
class PublishSettings:
    """When a model is published, at the earlier of both; the first one after the first batch.

    Attributes
    ----------
    every
        Time from one publication to the next.
    updates
        Rows learned from one publication to the next.
    """

    every: Duration | None = None
    updates: int | None = None

    def __post_init__(self) -> None:
        self._check_any()
        if self.updates is not None and self.updates < 1:
            raise SettingsError(f"updates is {self.updates}", where="publish", remedy="give 1 or more")

    def _check_any(self) -> None:
        if self.every is None and self.updates is None:
            raise SettingsError("it says neither every nor updates", where="publish", remedy="write {every: 1s} or {updates: 100}")


@dataclass(frozen=True)
class Publishing(PublishSettings):
    """When a trainer publishes a model, at the earliest of all that is set; and how it is sent.

    The first one goes out after the first batch, or once it is asked for if nothing but ``pull`` is set.

    Attributes
    ----------
    every, updates
        As for `PublishSettings`.
    drift
        A drift detector that watches the trainer's errors, or `DriftRule` for the details.
    gain
        Whether a model answers held-out rows better than the published one; `GainRule`.
    pull
        When a predictor asks.
    send
        ``full``, ``delta``, ``float16``, ``int8``, or `Sending` for the details.
    """

    drift: str | DriftRule | None = None
    gain: GainRule | None = None
    pull: bool = False
    send: Form | Sending = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.drift, str):
            create_detector(self.drift)

    def _check_any(self) -> None:
        if self.every is None and self.updates is None and self.drift is None and self.gain is None and not self.pull:
            what = "it says neither every nor updates, and no drift, gain or pull"
            raise SettingsError(what, where="publish", remedy="write {every: 1s} or {updates: 100}")


def sending(choice: Form | Sending) -> Sending:
    """Read a short form."""
    if isinstance(choice, Sending):
        return choice
    short = {"delta": Sending(delta=True), "float16": Sending(precision="float16"), "int8": Sending(precision="int8")}
    return short.get(choice, Sending())


class Publisher:
    """Decides when to publish, and sends models in the form that was chosen.

    Parameters
    ----------
    settings
        When and how.
    owner
        The component whose time, processor and randomness it uses.
    models
        Where models go.
    learner
        As the experiment file names it.
    """

    def __init__(self, settings: Publishing, owner: Component, models: Output[Model], learner: registry.Choice) -> None:
        self._settings, self._owner, self._models = settings, owner, models
        self._learner = dict([registry.read(learner)])
        self._triggers = _Triggers(settings)
        gain = settings.gain
        self._holdout = None if gain is None else Holdout(gain.holdout, gain.recent, owner.rng)
        self._rival: Learner | None = None
        self._compared = 0
        self._frames = _Frames(sending(settings.send))
        self._version = self._learned = 0
        self._last: Model | None = None
        self._askers: set[str] = set()
        self._like: Samples | None = None

    def to_learn(self, x: Features, y: Labels) -> tuple[Features, Labels]:
        """The rows that may be learned from: all, unless some are held out."""
        return (x, y) if self._holdout is None else self._holdout.split(x, y)

    async def learned(self, learner: Learner, like: Samples, rows: int, wrong: Sequence[bool], parameters: int) -> None:
        """Publish if that is due, after a batch.

        Parameters
        ----------
        learner
            What has learned.
        like
            Samples of its width and classes.
        rows
            How many it has learned from now.
        wrong
            Of each row that came, whether it had been answered wrongly before.
        parameters
            Numbers in the model.
        """
        self._learned, self._like = self._learned + rows, like
        if (alarm := self._triggers.watch(wrong)) is not None:
            self._owner.metrics.event("drift", json.dumps({"samples": alarm}))
        if not self._models.connected:
            return
        why = self._triggers.due(self._owner.clock.now(), self._learned)
        if why is None and await self._gained(learner, parameters):
            why = "gain"
        if why is not None:
            await self._publish(learner, like, why, parameters)
        elif self._askers:
            await self._publish(learner, like, "asked", parameters, self._askers)

    async def asked(self, request: ModelRequest, asker: str, learner: Learner | None, parameters: int) -> None:
        """Answer a predictor that asks: now if there is something new for it, else once there is.

        Parameters
        ----------
        request
            What it asks.
        asker
            The replica.
        learner, parameters
            As for `learned`; None before it has learned.
        """
        if learner is not None and self._like is not None and self._learned > self._triggers.published:
            await self._publish(learner, self._like, "asked", parameters, {asker})
        elif request.have < self._version and not request.full and self._last is not None:
            await self._send(self._last, {asker})
        elif not request.full:
            self._askers.add(asker)
        if request.full and self._frames.base is not None:
            await self._send(self._frames.base, {asker})

    async def renewed(self, peer: str) -> None:
        """A predictor has begun anew, and has at most the newest model: send it the full one that changes are made against.

        Parameters
        ----------
        peer
            The replica.
        """
        model = self._frames.base or self._last
        if model is not None:
            await self._send(model, {peer})

    async def _gained(self, learner: Learner, parameters: int) -> bool:
        """Whether the learner answers held-out rows better than what was published last."""
        rule, holdout, rival = self._settings.gain, self._holdout, self._rival
        if rule is None or holdout is None or rival is None or not len(holdout) or self._learned - self._compared < rule.check:
            return False
        self._compared = self._learned
        mine, theirs = [
            await self._owner.compute(holdout.accuracy, one, operation="predict", size=len(holdout), parameters=parameters)
            for one in (learner, rival)
        ]
        return mine - theirs >= rule.margin

    async def _publish(
        self, learner: Learner, like: Samples, why: str, parameters: int, askers: Collection[str] | None = None
    ) -> None:
        """Send what the learner knows, to those who have asked or to all."""
        full = self._frames.full_is_due
        state = await self._owner.compute(self._frames.packed, learner, full, operation="snapshot", parameters=parameters)
        now, width, base = self._owner.clock.now(), like.x.shape[1], self._frames.base
        self._version += 1
        model = Model(
            self._version, self._learner, width, like.classes, state, self._learned, now,
            None if full or base is None else base.published_at,
        )  # fmt: skip
        if self._settings.gain is not None:
            self._rival = self._rival or registry.create(self._learner, width, like.classes, np.random.default_rng(0))
            self._rival.load(self._frames.received(model))
        self._frames.sent(model)
        self._triggers.sent(self._learned)
        told = {"version": model.version, "samples": model.samples, "why": why, "form": "full" if full else "delta"}
        self._owner.metrics.event("published", json.dumps(told))
        self._last, self._askers = model, set()
        # Who has not asked for a model that changes are made against will need it, too.
        await self._send(model, None if full and self._frames.base is not None else askers)

    async def _send(self, model: Model, askers: Collection[str] | None) -> None:
        known = askers if askers is not None and set(askers) <= set(self._models.peers) else None
        await self._models.send(model, version=model.version, to=None if known is None else sorted(known))


class _Triggers:
    """What makes a publication due that is known from time, rows and errors alone."""

    def __init__(self, settings: Publishing) -> None:
        self._updates, self._pace = settings.updates, Pace(settings.every)
        drift = DriftRule(settings.drift) if isinstance(settings.drift, str) else settings.drift
        self._detector = None if drift is None else create_detector(drift.detector)
        self._after = 0 if drift is None else drift.after
        self._only_asked = settings == Publishing(pull=True, send=settings.send)
        self._seen, self._drifted = 0, math.inf
        self.published = -1
        """Rows that the model had learned that was published last."""

    def watch(self, wrong: Sequence[bool]) -> int | None:
        """Let the drift detector see the errors; the row of its last alarm among them, if any."""
        alarm, self._seen = None, self._seen + len(wrong)
        if self._detector is not None:
            for row, error in enumerate(wrong, self._seen - len(wrong) + 1):
                if self._detector.update(float(error)):
                    alarm, self._drifted = row, row + self._after
        return alarm

    def due(self, now: float, learned: int) -> str | None:
        """Why to publish, or None."""
        every = self._pace.due(now)
        if self.published < 0 and not self._only_asked:
            return "first"
        if every:
            return "every"
        if self._updates is not None and learned - self.published >= self._updates:
            return "updates"
        return "drift" if self._seen >= self._drifted else None

    def sent(self, learned: int) -> None:
        """Note that a model was published."""
        self.published, self._drifted = learned, math.inf


class _Frames:
    """The form of what is sent, and the last full model, against which changes are sent."""

    def __init__(self, form: Sending) -> None:
        self._form = form
        self._since = 0
        self._state: dict[str, Any] = {}
        self.base: Model | None = None

    @property
    def full_is_due(self) -> bool:
        """Whether the next model has to be a full one."""
        return not self._form.delta or self.base is None or self._since + 1 >= self._form.keyframe

    def packed(self, learner: Learner, full: bool) -> dict[str, Any]:
        """The learner's state as it is sent."""
        return packed(learner.state(), self._form.precision, None if full else self._state)

    def received(self, model: Model) -> dict[str, Any]:
        """The state as who receives the model has it."""
        return unpacked(model.state, None if model.base is None else self._state)

    def sent(self, model: Model) -> None:
        """Note what was sent."""
        if model.base is not None:
            self._since += 1
        elif self._form.delta:
            self.base, self._since, self._state = model, 0, self.received(model)

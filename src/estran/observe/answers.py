"""What answers were worth: right or wrong, beside the two simplest rivals, and how old the model was that gave them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from estran.observe.stories import NONE, Floats, Integers, Stories

_NUMBER: Final = re.compile(r"(?:version\D*|^\s*)(\d+)")


def no_change(truth: Sequence[int]) -> Integers:
    """The rival that answers what was true last: 1 where it is right, 0 where not, -1 where it has nothing to go by."""
    known = np.asarray(truth, dtype=np.int64)
    hits = np.full(len(known), NONE, dtype=np.int64)
    hits[1:] = known[1:] == known[:-1]
    return hits


def majority(truth: Sequence[int]) -> Integers:
    """The rival that answers what was true most often so far (the first to get there, on a tie); coded as `no_change`."""
    hits = np.full(len(truth), NONE, dtype=np.int64)
    counts: dict[int, int] = {}
    best, most = NONE, 0
    for index, label in enumerate(np.asarray(truth).tolist()):
        if most:
            hits[index] = label == best
        counts[label] = seen = counts.get(label, 0) + 1
        if seen > most:
            best, most = label, seen
    return hits


def per_receiver(stories: Stories, rival: str) -> Integers:
    """A rival's hits for graded rows in order of arrival, judged at each answering replica on its own."""
    judge = {"no_change": no_change, "majority": majority}[rival]
    hits = np.full(len(stories), NONE, dtype=np.int64)
    for replica in np.unique(stories.receiver):
        mine = np.flatnonzero(stories.receiver == replica)
        mine = mine[np.argsort(stories.received[mine], kind="stable")]
        hits[mine] = judge(stories.truth[mine].tolist())
    return hits


@dataclass(frozen=True)
class Published:
    """When each version that one predictor may serve was published: ``times`` ascending, with their ``versions``."""

    times: Floats
    versions: Integers


@dataclass(frozen=True)
class Staleness:
    """Per answer: whether its version's publication is known, its age in seconds, and how many newer versions existed."""

    known: np.ndarray[tuple[int], np.dtype[np.bool_]]
    seconds: Floats
    versions: Floats


def published(stories: Stories, events: Iterable[tuple[float, str, str]], receiver: int) -> Published | None:
    """Publications that concern one predictor, or None if no model ever came to it.

    Parameters
    ----------
    events
        ``published`` events as time, replica and detail. They tell of models that no message carried to the end (a *latest* stream
        drops old ones); where there are none, the models' messages tell.
    """
    models = (stories.receiver == receiver) & (stories.version != NONE) & (stories.answer == NONE)
    origins = {stories.names[origin] for origin in np.unique(stories.origin[models])}
    if not origins:
        return None
    first: dict[int, float] = {}
    told = [(time, int(found[1])) for time, replica, detail in events if replica in origins and (found := _NUMBER.search(detail))]
    carried = zip(stories.sent[models].tolist(), stories.version[models].tolist(), strict=True)
    for time, version in sorted([*told, *carried]):
        first.setdefault(version, time)
    return Published(np.array(list(first.values())), np.array(list(first), dtype=np.int64))


def staleness(stories: Stories, events: Sequence[tuple[float, str, str]]) -> Staleness:
    """How stale each answer was when it was done.

    In seconds: since its model was published. In versions: how many newer ones had been published by then.
    """
    known = np.zeros(len(stories), dtype=bool)
    seconds, versions = np.zeros(len(stories)), np.zeros(len(stories))
    answers = stories.answer != NONE
    for replica in np.unique(stories.receiver[answers]):
        history = published(stories, events, int(replica))
        if history is None:
            continue
        mine = np.flatnonzero(answers & (stories.receiver == replica) & np.isin(stories.version, history.versions))
        known[mine] = True
        seconds[mine], versions[mine] = _behind(history, stories.version[mine], stories.done[mine])
    return Staleness(known, seconds, versions)


def _behind(history: Published, version: Integers, done: Floats) -> tuple[Floats, Floats]:
    order = np.sort(history.versions)
    time_of = dict(zip(history.versions.tolist(), history.times.tolist(), strict=True))
    newest = np.maximum.accumulate(np.searchsorted(order, history.versions))
    existed = np.searchsorted(history.times, done, "right") - 1
    rank = np.searchsorted(order, version)
    behind = np.where(existed >= 0, newest[np.maximum(existed, 0)], rank) - rank
    seconds = done - np.array([time_of[one] for one in version.tolist()])
    return seconds, np.maximum(behind, 0).astype(np.float64)


def graded(stories: Stories) -> Stories:
    """Answers whose truth is known."""
    return stories.select((stories.answer != NONE) & (stories.truth != NONE))


def services_of(stories: Stories, services: Mapping[str, str]) -> dict[str, Integers]:
    """Rows by the service that processed them."""
    listed, service_of = stories.by_service(services)
    receiver = service_of[stories.receiver]
    return {listed[one]: np.flatnonzero(receiver == one) for one in np.unique(receiver)}

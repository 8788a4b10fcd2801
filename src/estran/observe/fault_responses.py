"""What each fault of a run cost: how long until it showed, how long until all was as before, and what accuracy it took.

Everything is judged against the *reference*: up to `REFERENCE` seconds of the measurement before the fault, after earlier ones
were over. Time is cut into bins that hold some `PER_BIN` answers each. A bin *deviates* if fewer answers come in it, or they take
longer, or fewer of them are right, than the median of the reference's bins less (more) `DEVIATIONS` of their scaled median absolute
deviations, or `TOLERANCE` of the median if that is more; or if none comes where some came in each of the reference's bins, however
their numbers varied. Mean and standard deviation would let what an earlier fault left, such as
a backlog, hide all that follows (Leys et al., *Detecting outliers*, J. Exp. Soc. Psychol. 49, 2013).

What accuracy a fault took is measured the same where the fault takes no time, at the moments at which it would have begun: what a
model learns meanwhile is in both, and the difference is the fault's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from estran.observe.figures import Response, Responses
from estran.observe.queries import Run
from estran.observe.stories import Floats, Mask, Stories

REFERENCE: Final = 10.0
LEAST_REFERENCE: Final = 1.0
"""Seconds without which nothing can be said."""
PER_BIN: Final = 25
NARROWEST, WIDEST = 0.1, 1.0
"""Bins, seconds."""
DEVIATIONS: Final = 3.0
NORMAL: Final = 1.4826
"""Standard deviations in a median absolute deviation, of what is normal."""
TOLERANCE: Final = 0.1
RUN: Final = 2
"""Bins in a row that must deviate."""
HOLD: Final = 2.0
"""Seconds that all must be within its band for the fault to count as recovered from."""
FEWEST: Final = 5
"""Answers in a bin without which its latency and accuracy say nothing."""
PER_FAULT: Final = ("time_to_detect", "time_to_recover", "accuracy_dip", "accuracy_area")
_NO_TIME: Final[Mapping[str, float | str]] = {"time_to_detect": "the fault takes no time in this run", "time_to_recover": 0.0}
UNITS: Final[Mapping[str, str]] = dict(zip(PER_FAULT, ("s", "s", "fraction", "s"), strict=True))


@dataclass(frozen=True, slots=True)
class _Happened:
    """One injection; ``until`` is when the next one begins, or the measurement ends."""

    begun: float
    since: float
    until: float
    crowded: bool


def fault_responses(result: Responses, run: Run, stories: Stories, ends: Mask, judged: Stories) -> None:
    """Add responses of each fault, and how many messages of all were lost or came twice; nothing if the run has no faults.

    Parameters
    ----------
    stories, ends
        Messages without those that came twice, and which of them end their traces' ways.
    judged
        Answers whose truth is known.
    """
    recorded = run.document("faults")
    if recorded is None:
        return
    names = dict.fromkeys([*(one["fault"] for one in recorded["faults"]), *recorded["without"]])
    answers = stories.select(np.flatnonzero(ends))
    for name in names:
        idle = recorded["without"].get(name)
        begun = recorded["faults"] if idle is None else [*recorded["faults"], *(_sham(name, at) for at in idle)]
        found = [_judge(one, answers, judged) for one in _happened(name, begun, result.window)]
        if idle is not None:
            found = [{**one, **_NO_TIME} for one in found or [dict.fromkeys(PER_FAULT, _NO_TIME["time_to_detect"])]]
        for kind in PER_FAULT:
            _add(result, f"{kind}_{name}", UNITS[kind], [one[kind] for one in found])
    _counted(result)


def _sham(name: str, at: float) -> dict[str, Any]:
    """A moment at which a fault would have begun that takes no time."""
    return {"fault": name, "begun": at, "ended": at}


def _add(result: Responses, name: str, unit: str, found: Sequence[float | str]) -> None:
    values = [one for one in found if not isinstance(one, str)]
    reasons = list(dict.fromkeys(one for one in found if isinstance(one, str)))
    if not values:
        result.missing[name] = "; ".join(reasons) or "the fault did not happen within the measurement"
        return
    left = len(found) - len(values)
    note = f"mean over {len(values)} happenings" if len(values) > 1 else None
    told = f"{left} more without: {'; '.join(reasons)}" if left else None
    result.values[name] = Response(float(np.mean(values)), unit, len(values), None, "; ".join(filter(None, (note, told))) or None)


def _counted(result: Responses) -> None:
    """Messages in numbers, since a fault may strike however many there are."""
    loss, again = result.values.get("loss"), result.values.get("duplicates")
    if loss is None:
        result.missing["messages_lost"] = result.missing.get("loss", "no message was processed")
    else:
        lost = round(loss.value * loss.n)
        result.values["messages_lost"] = Response(float(lost), "messages", loss.n, None, loss.note)
    if again is None:
        result.missing["messages_duplicated"] = result.missing.get("duplicates", "no message was processed")
    else:
        result.values["messages_duplicated"] = Response(again.value, "messages", again.n, again.ci95, again.note)


def _happened(name: str, faults: Sequence[Mapping[str, Any]], window: tuple[float, float]) -> list[_Happened]:
    """The injections of one fault that began, each with the time around it that no other one disturbs."""
    begin, end = window
    begun = [one for one in faults if one["begun"] is not None and one["begun"] < end]
    found = []
    for one in begun:
        if one["fault"] != name:
            continue
        at = one["begun"]
        others = [other for other in begun if other is not one]
        over_before = [end if other["ended"] is None else other["ended"] for other in others if other["begun"] <= at]
        since = max([begin, at - REFERENCE, *(ended for ended in over_before if ended <= at)])
        until = min([end, *(other["begun"] for other in others if other["begun"] > at)])
        found.append(_Happened(at, since, until, any(ended > at for ended in over_before)))
    return found


def _judge(one: _Happened, answers: Stories, judged: Stories) -> dict[str, float | str]:
    if one.crowded:
        return dict.fromkeys(PER_FAULT, "another fault was on when it began")
    if one.begun - one.since < LEAST_REFERENCE:
        return dict.fromkeys(PER_FAULT, f"less than {LEAST_REFERENCE:g}s of undisturbed measurement before it")
    return {**_times(one, answers, judged), **_accuracies(one, judged)}


class _Bins:
    """Times before and after a fault's begin, in bins of one width.

    Parameters
    ----------
    times
        Of all events.
    """

    def __init__(self, one: _Happened, until: float, times: Floats) -> None:
        before = int(((times >= one.since) & (times < one.begun)).sum())
        rate = before / (one.begun - one.since)
        self.width = float(np.clip(PER_BIN / rate, NARROWEST, WIDEST)) if rate else WIDEST
        self.before = int((one.begun - one.since) / self.width + 1e-9)
        self.after = max(int((until - one.begun) / self.width + 1e-9), 0)
        self._edges = one.begun + self.width * np.arange(-self.before, self.after + 1)
        self.enough = before >= 2 * FEWEST and self.before >= 3

    def counts(self, times: Floats) -> Floats:
        """Events in each bin."""
        return np.histogram(times, self._edges)[0].astype(float)

    def means(self, times: Floats, values: Floats) -> Floats:
        """Mean of a value in each bin, NaN where too few events are in it."""
        count = self.counts(times)
        total = np.histogram(times, self._edges, weights=values)[0]
        return np.where(count >= FEWEST, total / np.maximum(count, 1), np.nan)


def _times(one: _Happened, answers: Stories, judged: Stories) -> dict[str, float | str]:
    """Seconds from the begin until something deviates, and until nothing does any more."""
    bins = _Bins(one, one.until, answers.done)
    if not bins.enough:
        return dict.fromkeys(PER_FAULT[:2], "too few answers before it")
    counts = bins.counts(answers.done)
    deviates = (
        _below(bins, counts) | _silent(bins, counts) | _below(bins, -bins.means(answers.done, answers.done - answers.created))
    )
    if len(judged):
        deviates |= _below(bins, bins.means(judged.done, (judged.truth == judged.answer).astype(float)))
    if len(deviates) < RUN:
        return dict.fromkeys(PER_FAULT[:2], "another fault, or the end, came before anything could be seen")
    in_a_row = np.convolve(deviates.astype(int), np.ones(RUN, dtype=int), mode="valid") == RUN
    if not in_a_row.any():
        return {"time_to_detect": "nothing was seen of it: all stayed within its band", "time_to_recover": 0.0}
    first = int(np.argmax(in_a_row))
    hold = max(int(np.ceil(HOLD / bins.width)), RUN)
    for start in range(first + 1, len(deviates) - hold + 1):
        if not deviates[start : start + hold].any():
            return {"time_to_detect": (first + 1) * bins.width, "time_to_recover": start * bins.width}
    return {
        "time_to_detect": (first + 1) * bins.width,
        "time_to_recover": "not recovered before another fault, or the end, came",
    }


def _silent(bins: _Bins, counts: Floats) -> Mask:
    """Which bins after the begin have no answer, where each of those before has: a band that reaches below 0 would miss that."""
    found: Mask = (counts[bins.before :] == 0) & bool((counts[: bins.before] > 0).all())
    return found


def _below(bins: _Bins, series: Floats) -> Mask:
    """Which bins after the begin are below the band of those before."""
    reference, after = series[: bins.before], series[bins.before :]
    known = reference[~np.isnan(reference)]
    if len(known) < FEWEST - 2:
        return np.zeros(len(after), dtype=bool)
    middle = float(np.median(known))
    spread = NORMAL * float(np.median(np.abs(known - middle)))
    low = middle - max(DEVIATIONS * spread, TOLERANCE * abs(middle))
    found: Mask = np.nan_to_num(after, nan=np.inf) < low
    return found


def _accuracies(one: _Happened, judged: Stories) -> dict[str, float | str]:
    """By how much accuracy fell in the worst bin, and the accuracy that was lost, summed over time; by creation of the messages."""
    bins = _Bins(one, one.until, judged.created)
    if not len(judged) or not bins.enough:
        why = "too few graded answers before it" if len(judged) else "no answer came with its truth"
        return dict.fromkeys(PER_FAULT[2:], why)
    hits = bins.means(judged.created, (judged.truth == judged.answer).astype(float))
    reference, after = hits[: bins.before], hits[bins.before :]
    if np.isnan(after).all() or np.isnan(reference).all():
        return dict.fromkeys(PER_FAULT[2:], "too few graded answers in any bin")
    lost = float(np.nanmean(reference)) - after
    return {"accuracy_dip": max(float(np.nanmax(lost)), 0.0), "accuracy_area": round(float(np.nansum(lost) * bins.width), 12)}

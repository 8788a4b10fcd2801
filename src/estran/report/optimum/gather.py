"""From an optimisation's folder, trials and answer to what its page shows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from estran.optimize.answer import Answer, Candidate
from estran.optimize.folder import Folder
from estran.optimize.goals import Goals
from estran.optimize.strategy import DONE
from estran.optimize.trials import Point, Trial, Trials
from estran.report.optimum.view import Asked, Figure, Made, Optimum, Progress, Role, Seen, Spent
from estran.report.wording import plain, quantity
from estran.study.factors import Factor, settled

RECOMMENDED = "recommended.yaml"
MOST_POINTS = 10_000
"""Of a space that a search may come to the end of."""
WHY = {
    "default": "the default of every factor",
    "explore": "a new point",
    "first": "to fill the space at the cheapest fidelity",
    "lead": "to find the best of a cheaper fidelity",
    "promote": "the best by the words of a cheaper fidelity",
    "improve": "worth most per second",
    "replicate": "its place was uncertain",
    "confirm": "to compare it with the default",
    "test": "to test the cheaper fidelities",
}
"""What a strategy calls a reason, in words; others are shown as they are."""


def optimum(folder: Folder, trials: Trials, found: Answer, trust: Mapping[str, Sequence[str]]) -> Optimum:
    """Gather all that a page tells.

    Parameters
    ----------
    trust
        How far each fidelity is believed, in words; of those of which nothing is to be said nothing.
    """
    asked = folder.asked
    names = [one.name for one in folder.fidelities]
    candidates = {one.point: one for one in found.candidates}
    believed = {said for words in trust.values() for said in words}
    return Optimum(
        experiment=asked.experiment,
        folder=str(folder.path),
        platform=folder.target.on,
        seed=asked.seed,
        state="done" if _complete(folder, trials) else "not finished",
        factors=folder.space.factors,
        asked=tuple(_asked(folder)),
        points=tuple(_seen(point, candidates.get(point.number), found, folder) for point in trials.points.values()),
        trials=tuple(map(_made, trials)),
        spent=tuple(_spent(name, trials, trust.get(name, ())) for name in names),
        progress=_progress(trials, found, folder.goals),
        answer=tuple(_answer(found)),
        recommended=RECOMMENDED if (folder.path / RECOMMENDED).exists() else None,
        minding=tuple(sentence(note) for note in found.notes if note not in believed),
        command=command(folder),
    )


def command(folder: Folder) -> str:
    """The command that makes the optimisation again."""
    asked = folder.asked
    words = ["estran", "optimize", asked.file]
    for option, values in asked.goals.items():
        words += [word for value in values for word in (f"--{option.replace('_', '-')}", value)]
    on = ",".join("flow" if one.flow else one.on for one in folder.fidelities)
    words += ["--fidelities" if len(folder.fidelities) > 1 or folder.target.flow else "--on", on]
    words += ["--trials", str(asked.trials), "--replicates", str(asked.replicates)]
    words += ["--sampler", asked.sampler, "--seed", str(asked.seed)]
    words += ["--prune", asked.prune] if asked.prune != "none" else []
    words += ["--timeout", f"{asked.timeout:g}s"] if asked.timeout is not None else []
    words += ["--calibration", asked.calibration] if asked.calibration is not None else []
    words += [word for override in asked.overrides for word in ("--set", override)]
    words += [word for earlier in asked.earlier for word in ("--from", earlier)]
    return shlex.join(words)


def _answer(found: Answer) -> Iterator[str]:
    yield sentence(found.sentence, found.responses)
    if found.recommended is not None:
        yield f"Point {found.recommended} is recommended: {found.how}."


def sentence(words: str, names: Collection[str] = ()) -> str:
    """Words with a full stop, and a capital unless a response's name stands first."""
    return (words if words.partition(" ")[0] in names else words[:1].upper() + words[1:]) + "."


def _complete(folder: Folder, trials: Trials) -> bool:
    made = trials.at(folder.target.name)
    every = _points(folder.space.factors)
    return not trials.going and (len(made) >= folder.asked.trials or len({trial.ask.point for trial in made}) == every)


def _points(factors: Sequence[Factor]) -> int | None:
    """How many points there are, which a search does not go beyond; None where they are too many for any search, or a range."""
    if any(factor.range for factor in factors) or prod(len(factor.levels) for factor in factors) > MOST_POINTS:
        return None
    names = [factor.name for factor in factors]
    whole = product(*(factor.levels for factor in factors))
    return len({repr(settled(dict(zip(names, levels, strict=True)), factors)) for levels in whole})


def _asked(folder: Folder) -> Iterator[Asked]:
    units = _units(folder)
    limits = {limit.response: limit.text for limit in folder.goals.limits}
    for goal in folder.goals.goals:
        yield Asked(goal.response, units.get(goal.response, ""), goal.minimize, limits.pop(goal.response, ""))
    for response, text in limits.items():
        yield Asked(response, units.get(response, ""), None, text)


def _units(folder: Folder) -> dict[str, str]:
    """Of responses, as the studies of all fidelities tell."""
    files = [folder.path / one.name / "units.json" for one in folder.fidelities]
    known = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    return {name: str(unit) for one in known for name, unit in one.items()}


def _seen(point: Point, candidate: Candidate | None, found: Answer, folder: Folder) -> Seen:
    runs = {one.name: _count(point, one.name) for one in folder.fidelities}
    highest = next((name for name in reversed(runs) if runs[name]), None)
    figures = {} if highest is None else _figures(point, highest, folder.goals)
    if candidate is not None:
        figures |= {
            name: Figure(mean, ends) for name, mean, ends in zip(found.responses, candidate.means, candidate.ci95, strict=True)
        }
    return Seen(
        number=point.number,
        levels=point.levels,
        idle=frozenset(point.levels) - folder.space.active(point.levels),
        role=_role(point.number, candidate, found),
        fidelity=highest,
        figures=figures,
        runs=runs,
        seconds=sum(trial.told.seconds for trial in point.trials if trial.told is not None),
        feasible=candidate.feasible if candidate is not None and found.limits and _noise_known(candidate) else None,
        on_front=candidate.front if candidate is not None and _noise_known(candidate) else None,
        beaten=candidate is None or not candidate.on_front,
    )


def _noise_known(candidate: Candidate) -> bool:
    """Whether any point has replicates, so that probabilities mean something."""
    return any(ends is not None for ends in candidate.ci95)


def _count(point: Point, fidelity: str) -> int:
    return sum(trial.told is not None and trial.told.status == DONE for trial in point.at(fidelity))


def _figures(point: Point, fidelity: str, goals: Goals) -> dict[str, Figure]:
    """Means over the finished runs at a fidelity."""
    measured = [trial.told.responses for trial in point.at(fidelity) if trial.told is not None and trial.told.status == DONE]
    return {
        name: Figure(float(np.mean([one[name] for one in measured])))
        for name in goals.responses
        if all(name in one for one in measured)
    }


def _role(number: int, candidate: Candidate | None, found: Answer) -> Role:
    if number == found.recommended:
        return "best"
    return "default" if number == 0 else "front" if candidate is not None and candidate.on_front else "rest"


def _made(trial: Trial) -> Made:
    ask, told = trial.ask, trial.told
    what = str(ask.why.get("what", ""))
    return Made(
        number=ask.number,
        point=ask.point,
        fidelity=ask.fidelity,
        status="going" if told is None else told.status,
        seconds=0.0 if told is None else told.seconds,
        what=WHY.get(what, what),
        why=", ".join(_reasons(ask.why)),
        figures={} if told is None else told.responses,
        failure=(told.failure if told is not None else None) or "",
    )


def _reasons(why: Mapping[str, Any]) -> Iterator[str]:
    """The figures that decided, in words."""
    if (gain := why.get("gain")) is not None:
        yield f"expected gain {plain(100 * gain)} % of the hypervolume"
    if (seconds := why.get("seconds")) is not None:
        yield f"for {quantity(seconds, 's')}"
    if (correlation := why.get("correlation")) is not None:
        yield f"correlation with the fidelity that counts {plain(correlation)}"
    if (feasible := why.get("feasible")) is not None and feasible < 1:
        yield f"keeps limits with probability {plain(feasible)}"
    if (front := why.get("front")) is not None:
        yield f"on the front with probability {plain(front)}"
    yield from (str(why[name]) for name in ("for", "drawn") if name in why)


def _spent(fidelity: str, trials: Trials, trust: Sequence[str]) -> Spent:
    ended = [trial.told for trial in trials.at(fidelity) if trial.told is not None]
    return Spent(
        fidelity=fidelity,
        runs=sum(told.status == DONE for told in ended),
        failed=sum(told.status in ("failed", "timed-out") for told in ended),
        pruned=sum(told.status == "pruned" for told in ended),
        seconds=sum(told.seconds for told in ended),
        points=sum(_count(point, fidelity) > 0 for point in trials.points.values()),
        trust=" ".join(sentence(said, [fidelity]) for said in trust),
    )


def _progress(trials: Trials, found: Answer, goals: Goals) -> Progress:
    if not goals.single:
        return Progress("hypervolume", "", tuple((step.seconds, step.hypervolume) for step in found.trace))
    return Progress(found.responses[0], found.units[0], tuple(_best(trials, found.target, goals)))


def _best(trials: Trials, target: str, goals: Goals) -> Iterator[tuple[float, float]]:
    """Of a single goal, the best mean of a point that keeps all limits, after each trial at the target."""
    runs: dict[int, list[tuple[float, ...]]] = {}
    spent = 0.0
    for trial in trials:
        told = trial.told
        spent += told.seconds if told is not None else 0.0
        if told is None or trial.ask.fidelity != target or told.costs is None or told.violations is None:
            continue
        runs.setdefault(trial.ask.point, []).append((*told.costs, *told.violations))
        means = [np.mean(rows, axis=0) for rows in runs.values()]
        if kept := [float(mean[0]) for mean in means if (mean[1:] <= 0).all()]:
            yield spent, goals.goals[0].cost(min(kept))

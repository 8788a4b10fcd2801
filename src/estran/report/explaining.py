"""An explanation in words: what drives a response, by how much, and what the study cannot say."""

from __future__ import annotations

import math
from collections.abc import Iterator

from estran.explain.explanation import Effect, Explanation, Level
from estran.explain.indices import Indices
from estran.explain.shape import Shape
from estran.report.wording import plain, quantity

NEGLIGIBLE = 0.01
"""An effect that is found, but explains less than this, is told in one line with the others of its kind."""

ENOUGH = 32
"""Base points with fewer than which shares by Sobol are hardly worth reading."""


def answer(explanation: Explanation) -> Iterator[str]:
    """What drives the response, most important first: a sentence an effect."""
    found = [effect for effect in explanation.effects if effect.found]
    large = [effect for effect in found if effect.share >= NEGLIGIBLE]
    if not found:
        yield f"No effect on {explanation.response} can be told from chance in {explanation.runs} runs."
    for effect in large:
        yield _sentence(effect, explanation)
    small = [effect.term for effect in found if effect.share < NEGLIGIBLE]
    if small:
        yield f"{_listed(small)} {_verb(small, 'has', 'have')} an effect that is certain but explains less than {NEGLIGIBLE:.0%}."
    yield from _nothing_found(explanation)
    if explanation.blocks >= NEGLIGIBLE:
        yield f"Differences between seeds (blocks) explain {explanation.blocks:.0%}."
    for kind, share in explanation.random.items():
        if share >= NEGLIGIBLE:
            yield f"{_source(kind)} {_percent(share)}."
    yield f"{_percent(explanation.residual)} is not explained: chance, and interactions of three factors or more."


def validity(explanation: Explanation) -> Iterator[str]:
    """What the study cannot say, and what had to be allowed for."""
    yield f"{explanation.runs} runs, {explanation.freedom} degrees of freedom to judge by."
    if explanation.missing:
        yield f"{explanation.missing} runs of the design do not count: they failed, or did not measure {explanation.response}."
    if explanation.freedom < 10:
        yield "With so few, intervals are wide and assumptions cannot be checked: make more replicates."
    yield _model(explanation)
    diagnosis = explanation.diagnosis
    if explanation.mixed:
        if diagnosis.unequal is not None or not diagnosis.normal:
            what = (
                "Residuals are not normal"
                if diagnosis.unequal is None
                else f"Spread differs between the levels of {diagnosis.unequal}"
            )
            yield f"{what}, for which the mixed model does not allow: take its intervals and p-values as approximate."
    elif diagnosis.unequal is not None:
        what = f"Spread differs between the levels of {diagnosis.unequal}"
        yield f"{what}: intervals allow for it (HC3), and p-values are from permutations."
    elif explanation.permuted:
        yield "Residuals are not normal: p-values are from permutations."
    for term, twins in explanation.aliased.items():
        yield f"The effect of {term} cannot be told from that of {_listed(list(twins))} in this design."
    for name, count in explanation.counting.items():
        yield (
            f"{name} counts in {count} of {explanation.runs} runs, and is at its default in the others: its levels are compared by "
            "the runs where it counts, its share is of all runs, and what it does together with what it hangs on cannot be told."
        )
    for effect in explanation.effects:
        if effect.shape is not None and effect.shape.kind != "levels" and (effect.shape.lack_of_fit or 1) < 0.05:
            yield f"The curve that was fitted over {effect.term} does not follow its levels closely (lack of fit, p < 0.05)."
    if explanation.unfitted:
        yield f"Too few runs to tell interactions: {_listed(list(explanation.unfitted))}."
    if diagnosis.outliers:
        yield f"Outliers, which count all the same: run {_listed([str(run) for run in diagnosis.outliers])}."
    if diagnosis.drift is not None:
        run, jump = diagnosis.drift
        shown = signed(jump, explanation.unit)
        yield f"The response drifted while the study ran: after run {run} it was {shown} off."


def _model(explanation: Explanation) -> str:
    """Which model was used, in words."""
    if explanation.mixed:
        kinds = _listed([f"{count} {name}" for name, count in explanation.groups.items()])
        model = f"A mixed model with {kinds} as random effects (REML, Kenward–Roger): intervals are for others like these, too."
    else:
        model = "A linear model with a fixed effect for each block."
    if explanation.power == 1:
        return model
    how = {0.0: "logarithm", 0.5: "square root", -1.0: "reciprocal"}[explanation.power]
    return f"{model} It was fitted to the {how} of {explanation.response}, whose spread is even: differences are told as shares."


def _source(kind: str) -> str:
    if kind.startswith("hosts × "):
        return f"That {kind[8:]} does not do the same on all hosts explains"
    return {"runs": "Differences from run to run explain"}.get(kind, f"Differences between {kind} explain")


def follows(shape: Shape, power: float, unit: str) -> str:
    """How a mean follows a numeric factor: ``rises by 3 ms per 10ms``, ``falls, then stays flat``."""
    if shape.slope is None or power not in (0, 1):
        return ", then ".join(shape.trend)
    change = shape.slope * (shape.step if shape.kind == "straight" else 1.0)
    size = f"{plain(100 * abs(math.expm1(change)))} %" if power == 0 else difference(change, unit)
    one = shape.unit if shape.unit and shape.step == 1 else f"{plain(shape.step)}{shape.unit}"
    return f"{'rises' if change > 0 else 'falls'} by {size} per {one if shape.kind == 'straight' else 'factor of 10'}"


def told(found: Indices) -> Iterator[str]:
    """What indices say, the most important factor first."""
    for index in found.indices:
        if found.kind == "sobol":
            alone, whole = max(0.0, index.first), max(0.0, index.total)
            rest = f", {_percent(whole - alone)} of it only together with others" if whole - alone > NEGLIGIBLE else ""
            yield f"{index.factor} explains {_percent(whole)} of how {found.response} varies{rest}."
        else:
            bent = index.spread is not None and index.spread > 0.5 * index.total
            how = ", depending on the other factors or on where in its range" if bent and index.total else ""
            over = "over its range" if index.ordered else "from level to level"
            yield f"{index.factor} changes {found.response} by {difference(index.total, found.unit)} {over}{how}."
    if found.lost:
        yield f"{found.lost} of {found.samples + found.lost} samples do not count: one of their runs failed or did not measure it."
    if found.kind == "sobol" and found.samples < ENOUGH:
        yield f"{found.samples} base points say little: give --samples {ENOUGH} or more."
    if found.kind == "sobol":
        yield "What chance does from run to run counts as a share of every total."


def signed(value: float, unit: str) -> str:
    """A value with its sign; shares in points."""
    return ("−" if value < 0 else "+") + difference(value, unit)


def difference(value: float, unit: str) -> str:
    """A difference without its sign: shares in points."""
    return f"{plain(abs(value) * 100)} points" if unit == "fraction" else quantity(abs(value), unit)


def _sentence(effect: Effect, explanation: Explanation) -> str:
    head = f"{effect.term} explains {_percent(effect.share)} of how {explanation.response} varies"
    if effect.shape is not None:
        head = f"{head} (it {follows(effect.shape, explanation.power, explanation.unit)})"
    widest = effect.widest
    if widest is None:
        one, other = effect.term.split(" × ")
        return f"{head}: what {one} does depends on {other}."
    low, high = widest
    first = effect.levels[0]
    if first is low:
        return f"{head}: {high.name} has {_apart(high, explanation.unit, f'more than {low.name}')}."
    if first is high:
        return f"{head}: {low.name} has {_apart(low, explanation.unit, f'less than {high.name}')}."
    return (
        f"{head}: {high.name} has {_apart(high, explanation.unit, f'more than {first.name}')}, "
        f"{low.name} {_apart(low, explanation.unit, 'less')}."
    )


def _apart(level: Level, unit: str, how: str) -> str:
    if level.ratio is not None and level.ratio_ci95 is not None:
        ends = sorted(100 * abs(end - 1) * (1 if (end > 1) == (level.ratio > 1) else -1) for end in level.ratio_ci95)
        return f"{plain(100 * abs(level.ratio - 1))} % {how} (95 % CI {plain(ends[0])} % to {plain(ends[1])} %)"
    low, high = level.difference_ci95 if level.difference >= 0 else (-level.difference_ci95[1], -level.difference_ci95[0])
    return f"{difference(level.difference, unit)} {how} (95 % CI {_bound(low, unit)} to {_bound(high, unit)})"


def _bound(value: float, unit: str) -> str:
    return ("−" if value < 0 else "") + difference(value, unit)


def _nothing_found(explanation: Explanation) -> Iterator[str]:
    for effect in explanation.effects:
        if not effect.found and effect.levels:
            least = explanation.detectable[effect.term]
            enough = difference(least, explanation.unit) if explanation.power == 1 else f"{plain(100 * least)} %"
            yield f"{effect.term}: no effect found; a difference of {enough} would have been, four times of five."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _verb(words: list[str], one: str, many: str) -> str:
    return one if len(words) == 1 else many


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else "more than 99 %" if share > 0.99 else f"{share * 100:.0f} %"

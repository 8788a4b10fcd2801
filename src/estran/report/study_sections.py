"""Parts of a study's page: an answer for each response, where the time goes, trade-offs, what is used most, the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from estran.explain.bottleneck import Resource
from estran.explain.explanation import Effect, Explanation
from estran.explain.indices import Indices
from estran.report import effect_plots, front_chart, pathed, stacks
from estran.report.beyond import advised, limiting, predicted, traded
from estran.report.explaining import answer, signed, told, validity
from estran.report.markup import table, tag, text, wrapped
from estran.report.sections import nothing, section
from estran.report.study_data import Answer, Study
from estran.report.study_records import reproduce, runs
from estran.report.wording import NONE, count, interval, plain, quantity
from estran.units import minus

MOST_PLOTS = 6
"""Pictures of one kind that are shown at once; the others are a click away."""
MOST_EFFECTS = 24
MOST_LEVELS = 24
MOST_RESOURCES = 12
STRONGEST = 3
"""Factors whose levels' distributions are drawn."""


def response(number: int, found: Answer | Indices) -> str:
    """What drives one response, in words and with its evidence."""
    if isinstance(found, Indices):
        return _by_indices(number, found)
    explanation = found.explanation
    title = f"{explanation.response} (mean {quantity(explanation.mean, explanation.unit)})"
    parts = [
        _sentences(answer(explanation)),
        _effects(found),
        _mains(found),
        _interactions(found),
        _distributions(found),
        tag(
            "aside",
            tag("h3", "What to mind"),
            tag("ul", *(tag("li", text(one)) for one in validity(explanation))),
            class_="validity",
        ),
        _residuals(found),
    ]
    return section(f"r{number}", title, *parts)


def _sentences(sentences: Iterable[str]) -> str:
    return tag("div", *(tag("p", text(one)) for one in sentences), class_="answer")


def _by_indices(number: int, found: Indices) -> str:
    sobol = found.kind == "sobol"
    heads = ["factor", "alone" if sobol else "μ", "95 % CI", "with interactions" if sobol else "μ*", "95 % CI"]
    heads += [] if sobol else ["σ"]

    def shown(value: float) -> str:
        return effect_plots.percent(value) if sobol else signed(value, found.unit)

    rows = [
        [
            text(index.factor),
            text(shown(index.first)),
            text(" to ".join(map(shown, index.first_ci95))),
            text(shown(index.total)),
            text(" to ".join(map(shown, index.total_ci95))),
            *([] if sobol else [text(NONE if index.spread is None else signed(index.spread, found.unit))]),
        ]
        for index in found.indices
    ]
    what = "Share of the variance that each factor explains" if sobol else "Elementary effects over each factor's range"
    figure = tag("figure", tag("h3", text(what)), effect_plots.index_bars(found), tag("figcaption", "Whiskers: 95 % intervals."))
    drawn = count(found.samples, "base point" if sobol else "trajectory").replace("trajectorys", "trajectories")
    title = f"{found.response} (mean {quantity(found.mean, found.unit)})"
    numeric = frozenset(range(1, len(heads)))
    return section(f"r{number}", title, _sentences(told(found)), figure, table(heads, rows, numeric=numeric), lead=f"By {drawn}.")


def _effects(found: Answer) -> str:
    explanation = found.explanation
    rows = [
        [
            wrapped(effect.term),
            text(effect_plots.percent(effect.share)),
            text(" to ".join(map(effect_plots.percent, found.evidence.shares_ci95.get(effect.term, ())))),
            text(plain(effect.omega)),
            text(plain(effect.cohen)),
            text(effect.df),
            text(plain(effect.f)),
            text("< 0.001" if effect.p_holm < 0.001 else f"{effect.p_holm:.3f}"),
            text("yes" if effect.found else "no"),
        ]
        for effect in explanation.effects
    ]
    rows += [
        [text(name), text(effect_plots.percent(share)), "", "", "", text(freedom), "", "", ""]
        for name, share, freedom in (
            *((kind, share, "") for kind, share in explanation.random.items()),
            ("blocks (seeds)", explanation.blocks, ""),
            ("not explained", explanation.residual, explanation.freedom),
        )
    ]
    heads = ["term", "share (η²)", "95 % CI", "ω²", "Cohen’s f", "df", "F", "p (Holm)", "told from chance"]
    caption = "Whiskers: 95 % intervals of what each term truly explains; paler bars cannot be told from chance."
    few = explanation.effects[:MOST_EFFECTS]
    left = len(explanation.effects) - len(few)
    caption += f" The other {left} are in the table." if left else ""
    return tag(
        "figure",
        tag("h3", text(f"Share of the variance of {explanation.response}")),
        effect_plots.effect_bars(few, found.evidence),
        tag("figcaption", text(caption)),
    ) + table(heads, rows, numeric=frozenset(range(1, 8)))


def _mains(found: Answer) -> str:
    explanation, evidence = found.explanation, found.evidence
    drawn = []
    for effect in explanation.effects:
        if effect.levels:
            places, unit = evidence.places.get(effect.term), evidence.units.get(effect.term, "")
            picture = effect_plots.main_effect(effect, explanation, places, unit)
            listed = tag("details", tag("summary", "As a table"), _levels(effect, explanation, evidence.places.get(effect.term)))
            drawn.append(tag("figure", tag("h4", text(effect.term)), picture, listed))
    caption = "Means at each level, all other factors averaged over, with 95 % intervals; dashed: the mean of all."
    return _gallery("Main effects", drawn, caption)


def _levels(effect: Effect, explanation: Explanation, places: Mapping[str, float] | None) -> str:
    unit, along = explanation.unit, effect_plots.ordered(effect.levels, places)
    step = -(-len(along) // MOST_LEVELS)
    rows = [
        [
            wrapped(level.name),
            text(quantity(level.mean, unit)),
            text(interval(*level.mean_ci95, unit)),
            text(signed(level.difference, unit)),
            text(" to ".join(signed(end, unit) for end in level.difference_ci95)),
        ]
        for level in along[::step]
    ]
    heads = [effect.term, "mean", "95 % CI", f"beside {effect.levels[0].name}", "95 % CI"]
    more = f"Every {step} of {len(along)} levels." if step > 1 else ""
    return table(heads, rows, numeric=frozenset({1, 2, 3, 4})) + (tag("p", text(more), class_="muted") if more else "")


def _interactions(found: Answer) -> str:
    explanation, evidence = found.explanation, found.evidence
    drawn = []
    for term in (effect.term for effect in explanation.effects if effect.term in evidence.cells):
        cells = evidence.cells[term]
        rows = [
            [
                wrapped(one.one),
                wrapped(one.other),
                text(quantity(one.mean, explanation.unit)),
                text(interval(*one.ci95, explanation.unit)),
            ]
            for one in cells[:: -(-len(cells) // (4 * MOST_LEVELS))]
        ]
        listed = table([*term.split(" × "), "mean", "95 % CI"], rows, numeric=frozenset({2, 3}))
        picture = effect_plots.interaction(term, cells, explanation, evidence)
        drawn.append(tag("figure", tag("h4", text(term)), picture, tag("details", tag("summary", "As a table"), listed)))
    caption = "Where lines are not parallel, what one factor does depends on the other. Whiskers: 95 % intervals."
    return _gallery("Interactions", drawn, caption) if drawn else ""


def _distributions(found: Answer) -> str:
    explanation = found.explanation
    strongest = [effect.term for effect in explanation.effects if effect.levels and effect.found][:STRONGEST]
    strongest = strongest or [effect.term for effect in explanation.effects if effect.levels][:1]
    drawn = [
        tag("figure", tag("h4", text(name)), effect_plots.distribution(name, explanation, found.evidence)) for name in strongest
    ]
    caption = "Share of runs whose value is at most that on the axis; marks are medians."
    return _gallery("Distributions over runs", drawn, caption)


def _residuals(found: Answer) -> str:
    drawn = [
        tag("figure", tag("h4", text(title)), picture)
        for title, picture in effect_plots.residual_plots(found.explanation, found.evidence)
    ]
    outliers = frozenset(found.explanation.diagnosis.outliers)
    worst = sorted(found.evidence.residuals, key=lambda one: -abs(one.studentised))[: max(5, len(outliers))]
    rows = [
        [
            text(one.run),
            text(quantity(one.fitted, found.explanation.unit)),
            text(minus(f"{one.studentised:+.2f}")),
            "outlier" if one.run in outliers else "",
        ]
        for one in worst
    ]
    listed = table(["run", "fitted", "residual (sd)", ""], rows, numeric=frozenset({0, 1, 2}))
    caption = "What is left of each run when all effects are taken away. It should lie without order round 0, and along the line."
    return _gallery("Residuals", drawn, caption) + tag("details", tag("summary", "The largest residuals as a table"), listed)


def _gallery(title: str, drawn: list[str], caption: str) -> str:
    """Pictures beside each other, of many the first ones."""
    shown = tag("div", *drawn[:MOST_PLOTS], class_="plots")
    rest = drawn[MOST_PLOTS:]
    more = (
        tag("details", tag("summary", text(f"{count(len(rest), 'further picture')}")), tag("div", *rest, class_="plots"))
        if rest
        else ""
    )
    return tag("div", tag("h3", text(title)), shown, tag("p", text(caption), class_="muted caption"), more, class_="gallery")


def time(study: Study) -> str:
    """Where the time of messages goes."""
    if study.paths is None or not study.paths.overall.runs:
        why = "The runs recorded no messages, or their folders were not kept, so nothing can be said of their ways."
        return section("time", "Where the time goes", nothing(why))
    caption = "Paler shades of a colour are further stages of its kind. Tooltips and the table tell each."
    figure = tag("figure", stacks.stacks(study.paths), tag("figcaption", text(caption)))
    listed = tag("details", tag("summary", "The same figures as a table"), stacks.stage_table(study.paths))
    changes = tag("h3", "What changes are made of") + stacks.change_table(study.paths.changes) if study.paths.changes else ""
    notes = tag("ul", *(tag("li", text(note)) for note in study.paths.notes), class_="warnings") if study.paths.notes else ""
    return section("time", "Where the time goes", _sentences(pathed.told(study.paths)), figure, listed, changes, notes)


def front(study: Study) -> str:
    """What no other setting beats."""
    found = study.beyond.front
    if found is None:
        return section("front", "Trade-offs", nothing(_why(study, "No trade-offs", "There are no two responses to trade.")))
    caption = (
        "Each point is a setting. Joined: beaten by none in the two responses of the picture; numbered: beaten by none in all "
        "responses together. Crosses: 95 % intervals."
    )
    pictures = front_chart.pictures(found) + tag("p", text(caption), class_="muted caption")
    return section("front", "Trade-offs", _sentences(traded(found)), pictures, front_chart.candidate_table(found))


def used(study: Study) -> str:
    """Which resources limit the study."""
    found = study.beyond.bottleneck
    if found is None:
        return section("used", "What limits", nothing(_why(study, "No bottleneck", "Nothing is known of it.")))
    rows = [
        [
            text(one.name),
            text({"cpu": "processor", "link": "link", "service": "service"}[one.kind]),
            text(effect_plots.percent(one.utilisation)),
            text(effect_plots.percent(one.highest)),
            wrapped(front_chart.levels(one.where)),
            text(_limit(one)),
        ]
        for one in found.resources[:MOST_RESOURCES]
    ]
    heads = ["resource", "kind", "mean use", "highest use", "where", ""]
    shown = table(heads, rows, numeric=frozenset({2, 3}))
    items = [tag("li", text(note)) for note in found.notes]
    notes = tag("details", tag("summary", "What cannot be known"), tag("ul", *items, class_="warnings")) if items else ""
    lead = f"Of {count(len(found.resources), 'resource')}, what saturates first stands first."
    said = [sentence for sentence in limiting(found) if sentence not in found.notes]
    return section("used", "What limits", _sentences(said), shown, notes, lead=lead)


def _limit(one: Resource) -> str:
    if one.saturated or one.growing:
        return "what waits for it grows" if one.growing else "saturated"
    return f"bears {plain(one.headroom)} × that" if one.headroom is not None else ""


def _why(study: Study, what: str, otherwise: str) -> str:
    """Why something could not be had."""
    return next((why for why in study.beyond.why if why.startswith(what)), otherwise)


def further(study: Study) -> str:
    """What would be at other settings, and which runs to add."""
    parts = [tag("h3", text(f"What if: {one.response}")) + _sentences(predicted(one)) for one in study.beyond.predictions]
    parts += [
        tag(
            "details",
            tag("summary", text(f"To know more of {one.response}")),
            _sentences(advised(one)),
            open="open" if i == 0 else None,
        )
        for i, one in enumerate(study.beyond.further)
    ]
    if not parts:
        parts = [nothing("Designs for indices have no model from which further runs could be chosen: give more --samples.")]
    return section("next", "What to run next", *parts)


PARTS: tuple[tuple[str, str, Callable[[Study], str]], ...] = (
    ("time", "Time", time),
    ("front", "Trade-offs", front),
    ("used", "Limits", used),
    ("next", "Next", further),
    ("runs", "Runs", runs),
    ("reproduce", "Reproduce", reproduce),
)
"""Sections after those of the responses."""

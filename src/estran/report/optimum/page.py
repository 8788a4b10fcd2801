"""An optimisation as one self-contained HTML file, with the look of a run's report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from estran.report import study_sections
from estran.report.frame import document, write_page
from estran.report.markup import tag, text
from estran.report.optimum import charts, tables
from estran.report.optimum.effects import Effects
from estran.report.optimum.view import Optimum
from estran.report.sections import nothing, section
from estran.report.wording import count, quantity

NAME = "optimize.html"
WHY_EXPLAIN = (
    "As estran explain finds them in the table of trials, not by the sampler’s own importance. Each point counts once, by the mean "
    "of its runs, and numbers are in groups. Trials lie where the search went: of levels that it left early little is known."
)


def write_optimum_page(optimum: Optimum, effects: Effects, folder: Path) -> Path:
    """Write ``optimize.html`` into an optimisation's folder, whole or not at all, and return its path.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    return write_page(page(optimum, effects), folder / NAME, f"`estran report {folder}`")


def page(optimum: Optimum, effects: Effects) -> str:
    """The document of an optimisation."""
    body = "".join(build(optimum) for _, _, build in _PARTS) + _effects(effects) + _trials(optimum) + _reproduce(optimum)
    anchors = [(identity, short) for identity, short, _ in _PARTS]
    anchors += [("effects", "Effects"), ("trials", "Trials"), ("reproduce", "Reproduce")]
    footer = tag("p", "Written by Estran. This file is whole in itself and loads nothing.")
    return document(
        f"{optimum.experiment} · {Path(optimum.folder).name}", optimum.experiment, anchors, _header(optimum) + body, footer
    )


def _header(optimum: Optimum) -> str:
    style = {"done": "done", "failed": "failed"}.get(optimum.state, "interrupted")
    status = tag("span", text(optimum.state), class_=f"status {style}")
    facts = [Path(optimum.folder).name, "optimisation", f"platform {optimum.platform}", f"seed {optimum.seed}"]
    return tag(
        "header",
        tag("p", status, text(" · ".join(facts)), class_="meta"),
        tag("h1", text(optimum.experiment)),
        tag("div", *(tag("p", text(sentence)) for sentence in optimum.answer), class_="verdict"),
        _tiles(optimum),
        _recommended(optimum),
        _minding(optimum),
    )


def _tiles(optimum: Optimum) -> str:
    failed = sum(one.failed for one in optimum.spent)
    pruned = sum(one.pruned for one in optimum.spent)
    done = sum(one.runs for one in optimum.spent)
    places = [f"{one.runs:,} {one.fidelity}" for one in reversed(optimum.spent)]
    found = [
        ("runs done", f"{done:,}", ", ".join(places) if len(places) > 1 else f"of {len(optimum.trials):,} trials"),
        ("lost", f"{failed:,}", f"failed, and {pruned} ended early" if pruned else "failed or timed out"),
        ("points tried", f"{len(optimum.points):,}", f"{count(len(optimum.factors), 'factor')}"),
        ("on the front", f"{sum(not one.beaten for one in optimum.points):,}", "beaten by no other point, by the means"),
        ("time of runs", quantity(sum(one.seconds for one in optimum.spent), "s"), "all fidelities, one after the other"),
    ]
    cells = (
        tag("div", tag("dt", text(name)), tag("dd", tag("b", text(value)), tag("small", text(more)))) for name, value, more in found
    )
    return tag("dl", *cells, class_="tiles")


def _recommended(optimum: Optimum) -> str:
    if optimum.recommended is None:
        return ""
    link = tag("a", text(optimum.recommended), href=optimum.recommended)
    line = tag("code", text(optimum.run_command))
    return tag("p", "The recommended experiment, ready to run: ", link, " (", line, ")", class_="lead")


def _minding(optimum: Optimum) -> str:
    if not optimum.minding:
        return ""
    lead = tag("strong", "What to mind")
    return tag(
        "aside", lead, tag("ul", *(tag("li", text(one)) for one in optimum.minding)), class_="notice", aria_label="What to mind"
    )


def _front(optimum: Optimum) -> str:
    shown = optimum.shown
    if not shown:
        return section("front", "The best points", nothing("No run has finished that measured all goals."))
    single = len(optimum.goals) == 1
    goals = " and ".join(("less " if goal.minimize else "more ") + goal.response for goal in optimum.goals)
    limits = [asked.limit for asked in optimum.asked if asked.limit]
    lead = f"Better is {goals}" + (f", with {' and '.join(limits)}." if limits else ".")
    caption = "Crosses: 95 % intervals of the mean. " if not single else "Whiskers: 95 % intervals of the mean. "
    caption += "Tooltips tell levels, figures, and at which fidelities a point was seen."
    figure = charts.front(optimum) + charts.marks(optimum) + tag("p", text(caption), class_="muted caption")
    best = [one for one in reversed(shown) if one.role != "rest"]
    rest = [one for one in shown if one.role == "rest"]
    others = (
        tag("details", tag("summary", text(f"The other {count(len(rest), 'point')}")), tables.points(optimum, rest)) if rest else ""
    )
    title = "The best points" if single else "The front: what no other point beats in all goals"
    return section("front", title, figure, tables.points(optimum, best), others, lead=lead)


def _coordinates(optimum: Optimum) -> str:
    if not optimum.shown:
        return ""
    lead = "A line for each point: its levels on the left, what came of them on the right. Goals have their better end at the top."
    caption = "A line that passes a factor without a mark: the factor does not count there. Tab goes from line to line."
    picture = tag("figure", charts.coordinates(optimum), charts.marks(optimum), tag("figcaption", text(caption)))
    return section("points", "All points", picture, lead=lead)


def _progress(optimum: Optimum) -> str:
    drawn = charts.progress(optimum)
    if not drawn:
        return section("progress", "Progress", nothing("Too few runs have finished to tell how the search went."))
    name = optimum.progress.name
    what = "The volume of outcomes that the front is better than" if name == "hypervolume" else f"The best {name} so far"
    lead = f"{what}, over the time that runs took at all fidelities together."
    return section("progress", "What the search gained for what it cost", tag("figure", drawn, class_="limited"), lead=lead)


def _fidelities(optimum: Optimum) -> str:
    several = len(optimum.spent) > 1
    lead = "Figures of a point are from the highest fidelity at which a run of it is done." if several else ""
    return section("fidelities", "What it cost", tables.fidelities(optimum), lead=lead)


def _effects(effects: Effects) -> str:
    drawn = "".join(study_sections.response(number, found) for number, found in enumerate(effects.answers))
    why = "".join(tag("p", text(one), class_="muted") for one in effects.why)
    return (
        section("effects", "What the factors do", why or tag("p", text("Each goal has its section below.")), lead=WHY_EXPLAIN)
        + drawn
    )


def _trials(optimum: Optimum) -> str:
    listed = tag("details", tag("summary", text(f"All {count(len(optimum.trials), 'trial')}")), tables.trials(optimum))
    lost = [one for one in optimum.trials if one.failure]
    items = tag("ul", *(tag("li", text(f"trial {one.number}: {one.failure}")) for one in lost[:8]), class_="complaints")
    lead = "Why each run was made, the newest first; trials.csv and the journal have all of it."
    return section("trials", "Trials", items if lost else "", listed, lead=lead)


def _reproduce(optimum: Optimum) -> str:
    line = tag("pre", tag("code", text(optimum.command)), class_="command", tabindex="0")
    lead = (
        "With the same seed, one run at a time and in simulated time, the same trials come out. Each run’s folder has a report of "
        "its own."
    )
    return section("reproduce", "To make it again", line, lead=lead)


_PARTS: tuple[tuple[str, str, Callable[[Optimum], str]], ...] = (
    ("front", "Front", _front),
    ("points", "Points", _coordinates),
    ("progress", "Progress", _progress),
    ("fidelities", "Cost", _fidelities),
)
"""Sections before those of the effects."""

"""Parts of a study's page that say what was done: its runs, those that failed, its points, and how to make it again."""

from __future__ import annotations

import shlex
from collections import defaultdict

import numpy as np

from estran.explain.sample import by_run
from estran.report.markup import table, tag, text, wrapped
from estran.report.network import flatten
from estran.report.records import pairs
from estran.report.sections import section
from estran.report.study_data import Study
from estran.report.wording import NONE, count, quantity
from estran.study.rows import cell

MOST_POINTS = 60
MOST_FAILURES = 50


def runs(study: Study) -> str:
    """The design, what came of it, and what failed."""
    asked, found = study.table.folder.asked, study.table
    rows = []
    for name, names in found.levels.items():
        total = np.bincount(found.codes[name], minlength=len(names))
        done = np.bincount(found.codes[name], found.done, minlength=len(names))
        shown = [f"{level} ({int(done[i])}/{int(total[i])})" for i, level in enumerate(names[:12])]
        more = f" and {len(names) - 12} more levels" if len(names) > 12 else ""
        rows.append([wrapped(name), wrapped(", ".join(shown) + more)])
    lead = f"Design {asked.design}, {count(int(found.points.max()), 'point')}, {count(asked.replicates, 'replicate')} of each."
    factors = table(["factor", "levels (runs done / made)"], rows)
    return section("runs", "Design and runs", factors, _failures(study), _points(study), lead=lead)


def _failures(study: Study) -> str:
    if not study.failures:
        return tag(
            "p", text("No run failed." + (f" {count(study.unmade, 'run')} to be made: estran resume." if study.unmade else ""))
        )
    rows_of = {row.run: row for row in study.table.folder.rows}
    rows = [
        [
            text(number),
            wrapped(", ".join(f"{name} {cell(value)}" for name, value in rows_of[number].levels.items())),
            text(rows_of[number].seed),
            wrapped(why),
        ]
        for number, why in list(study.failures.items())[:MOST_FAILURES]
    ]
    left = len(study.failures) - MOST_FAILURES
    more = tag("p", text(f"And {count(left, 'run')} more."), class_="muted") if left > 0 else ""
    return table(["run", "levels", "seed", "why"], rows, caption="Failed runs, which do not count") + more


def _points(study: Study) -> str:
    found = study.table
    names = [one.response for one in study.explanations]
    groups: dict[int, list[int]] = defaultdict(list)
    for i, point in enumerate(found.points.tolist()):
        groups[point].append(i)
    rows = [_point(study, names, members) for _, members in sorted(groups.items())[:MOST_POINTS]]
    heads = [*found.levels, "runs", *names]
    shown = table(heads, rows, numeric=frozenset(range(len(found.levels), len(heads))))
    left = len(groups) - MOST_POINTS
    more = tag("p", text(f"And {count(left, 'point')} more: responses.csv has all."), class_="muted") if left > 0 else ""
    return tag("details", tag("summary", "All points: means and standard deviations"), shown, more)


def _point(study: Study, names: list[str], members: list[int]) -> list[str]:
    found, cells = study.table, []
    for name in names:
        values = by_run(found, name)[members]
        known = values[found.done[members] & np.isfinite(values)]
        spread = f" ± {quantity(float(known.std(ddof=1)), found.units.get(name, ''))}" if len(known) > 1 else ""
        cells.append(text(quantity(float(known.mean()), found.units.get(name, "")) + spread if len(known) else NONE))
    levels = [wrapped(found.levels[name][found.codes[name][members[0]]]) for name in found.levels]
    return [*levels, text(f"{int(found.done[members].sum())}/{len(members)}"), *cells]


def reproduce(study: Study) -> str:
    """Everything that another lab needs to make the study again."""
    asked = study.table.folder.asked
    known = [
        ("experiment file", asked.file),
        ("its SHA-256", asked.digest),
        ("platform", asked.on),
        ("calibration", asked.calibration or ""),
        ("first seed", str(asked.seed)),
        ("replicates", str(asked.replicates)),
        ("retries of failed runs", str(asked.retries)),
    ]
    line = tag("pre", tag("code", text(command(study))), class_="command", tabindex="0")
    facts = pairs([pair for pair in known if pair[1]])
    rest = {key: value for key, value in study.manifest.items() if key != "command"}
    more = (
        tag("details", tag("summary", "Versions and machine, as the first run recorded them"), pairs(flatten(rest))) if rest else ""
    )
    lead = "The same command makes the same design; each run's folder has a report of its own (estran report)."
    return section("reproduce", "To make it again", line, facts, more, lead=lead)


def command(study: Study) -> str:
    """The command that makes the study again."""
    asked = study.table.folder.asked
    words = ["estran", "study", asked.file, "--on", asked.on, "--design", asked.design, "--replicates", str(asked.replicates)]
    words += ["--seed", str(asked.seed)]
    words += ["--samples", str(asked.samples)] if asked.samples is not None else []
    words += ["--calibration", asked.calibration] if asked.calibration is not None else []
    words += [word for override in asked.overrides for word in ("--set", override)]
    return shlex.join(words)

"""An explained study as one self-contained HTML file, with the look of a run's report."""

from __future__ import annotations

from pathlib import Path

from estran.explain.indices import Indices
from estran.report import study_sections
from estran.report.explaining import answer, told
from estran.report.frame import document, write_page
from estran.report.markup import tag, text
from estran.report.study_data import Answer, Study
from estran.report.wording import count

NAME = "explain.html"
MOST_LISTED = 3
"""Failed runs that the page names at its beginning."""


def write_study_page(study: Study) -> Path:
    """Write ``explain.html`` into a study's folder, whole or not at all, and return its path.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    path = study.table.folder.path
    return write_page(page(study), path / NAME, f"`estran explain {path}`")


def page(study: Study) -> str:
    """The document of an explained study."""
    answers = [(f"r{number}", _response(found)) for number, found in enumerate(study.answers)]
    body = "".join(study_sections.response(number, found) for number, found in enumerate(study.answers))
    body += "".join(build(study) for _, _, build in study_sections.PARTS)
    asked = study.table.folder.asked
    return document(
        f"{asked.experiment} · {study.table.folder.path.name}",
        asked.experiment,
        [*answers, *((identity, short) for identity, short, _ in study_sections.PARTS)],
        _header(study) + body,
        _footer(study),
    )


def _response(found: Answer | Indices) -> str:
    return found.response if isinstance(found, Indices) else found.explanation.response


def _header(study: Study) -> str:
    table, asked = study.table, study.table.folder.asked
    done, lost = int(table.done.sum()), len(study.failures)
    state, style = (f"{lost} failed", "failed") if lost else ("not finished", "interrupted") if study.unmade else ("done", "done")
    status = tag("span", state, class_=f"status {style}")
    facts = [table.folder.path.name, f"design {asked.design}", f"platform {asked.on}", f"seed {asked.seed}"]
    tiles = [
        ("runs done", f"{done:,}", f"of {table.runs:,}" + (f", {study.unmade:,} to be made" if study.unmade else "")),
        ("failed", f"{lost:,}", "they do not count" if lost else "none"),
        ("replicates", f"{asked.replicates:,}", f"of {count(int(table.points.max()), 'point')}"),
        ("factors", f"{len(table.levels):,}", ", ".join(table.levels) if len(table.levels) <= 4 else ""),
        ("responses", f"{len(study.answers):,}", "explained here"),
    ]
    first = [sentence for found in study.answers for sentence in _first(found)]
    return tag(
        "header",
        tag("p", status, text(" · ".join(facts)), class_="meta"),
        tag("h1", text(asked.experiment)),
        tag("div", *(tag("p", text(sentence)) for sentence in first), class_="verdict"),
        tag(
            "dl",
            *(
                tag("div", tag("dt", text(name)), tag("dd", tag("b", text(value)), tag("small", text(more))))
                for name, value, more in tiles
            ),
            class_="tiles",
        ),
        _notice(study),
    )


def _first(found: Answer | Indices) -> list[str]:
    """What matters most of one response, in a sentence."""
    sentences = told(found) if isinstance(found, Indices) else answer(found.explanation)
    return [next(iter(sentences))]


def _notice(study: Study) -> str:
    """Failed runs, where nobody overlooks them."""
    if not study.failures:
        return ""
    shown = [tag("li", text(f"run {number}: {why}")) for number, why in list(study.failures.items())[:MOST_LISTED]]
    if len(study.failures) > MOST_LISTED:
        shown.append(tag("li", f'<a href="#runs">and {len(study.failures) - MOST_LISTED} more</a>'))
    lost = count(len(study.failures), "run")
    lead = tag("strong", text(f"{lost} of {study.table.runs} failed: read what follows with that in mind"))
    return tag("aside", lead, tag("ul", *shown), class_="notice", aria_label="Failed runs")


def _footer(study: Study) -> str:
    version = study.manifest.get("estran")
    made = f" Its runs were made by Estran {version}." if isinstance(version, str) else ""
    return tag("p", text(f"Written by Estran. This file is whole in itself and loads nothing.{made}"))

"""What broke in a run, when, and what it cost: a table, and shades on the curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from estran.observe.fault_responses import PER_FAULT, UNITS
from estran.report.charts import Chart
from estran.report.markup import table, text
from estran.report.wording import NONE, quantity


@dataclass(frozen=True, slots=True)
class Faults:
    """The record of a run's faults (``faults.json``), and its responses."""

    happened: list[Mapping[str, Any]]
    without: list[str]
    responses: Mapping[str, Mapping[str, Any]]


def faults_of(document: Any, responses: Mapping[str, Mapping[str, Any]]) -> Faults | None:
    """Of a run that has any, else None."""
    return None if document is None else Faults(list(document["faults"]), list(document.get("without") or []), responses)


def marked(found: Faults | None, chart: Chart) -> Chart:
    """A chart over time with the times shaded in which something was broken."""
    if found is None or "warmup" not in chart:
        return chart
    begun = [one for one in found.happened if one["begun"] is not None]
    return {**chart, "spans": [{"label": one["kind"], "from": one["begun"], "to": one["ended"]} for one in begun]}


def faults_table(found: Faults) -> str:
    """A row for each happening, and what each fault cost."""
    rows = [
        [_name(one), text(one["kind"]), text(_targets(one)), *(_moment(one[name]) for name in ("begun", "ended")),
         text(one["note"] or "")]
        for one in found.happened
    ]  # fmt: skip
    rows += [[text(name), NONE, NONE, NONE, NONE, "takes no time in this run"] for name in found.without]
    told = table(["fault", "kind", "befell", "from", "until", ""], rows, numeric=frozenset({3, 4}))
    names = dict.fromkeys([*(one["fault"] for one in found.happened), *found.without])
    costs = [[text(name), *(_cost(found, f"{kind}_{name}", UNITS[kind]) for kind in PER_FAULT)] for name in names]
    heads = ["fault", "time to detect", "time to recover", "accuracy dip", "accuracy area"]
    return told + table(heads, costs, numeric=frozenset({1, 2, 3, 4}))


def _name(one: Mapping[str, Any]) -> str:
    return text(one["key"]) + (" (by hand)" if one.get("by_hand") else "")


def _targets(one: Mapping[str, Any]) -> str:
    links = dict.fromkeys(" ↔ ".join(sorted(pair)) if [*pair][::-1] in one["links"] else " → ".join(pair) for pair in one["links"])
    found = [*links, *(one["hosts"] or one["outputs"] or one["replicas"])]
    return ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")


def _moment(value: float | None) -> str:
    return NONE if value is None else text(quantity(value, "s"))


def _cost(found: Faults, name: str, unit: str) -> str:
    response = found.responses.get(name)
    return NONE if response is None else text(quantity(response["value"], unit))

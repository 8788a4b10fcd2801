"""Stacked bars of where the time of messages went: the mean and the 99th percentile at each level of each factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estran.explain.paths import Change, Paths, Profile
from estran.report.explaining import signed
from estran.report.markup import table, tag, text, wrapped
from estran.report.plots import cut
from estran.report.wording import NONE, quantity
from estran.units import minus

MOST_STAGES = 8
"""Stages that are drawn by themselves: those with the most time at any level, of mean or tail."""
REST = "all other stages"


def stacks(paths: Paths) -> str:
    """All bars on one scale, a block for each factor, with the legend of stages before."""
    shown = _stages(paths)
    profiles = [profile for found in paths.factors.values() for profile in found] or [paths.overall]
    scale = max((max(one.latency, one.p99) for one in (*profiles, paths.overall)), default=0.0) or 1.0
    blocks = [_block("all runs", [paths.overall], shown, scale)]
    blocks += [_block(factor, found, shown, scale) for factor, found in paths.factors.items()]
    return _key(shown) + tag("div", *blocks, class_="bars")


def stage_table(paths: Paths) -> str:
    """The same figures as a table: a row for each stage and level."""
    rows = [
        [wrapped(name), text(stage), text(quantity(profile.mean[stage], "s")), text(quantity(profile.tail[stage], "s"))]
        for name, profile in _named(paths)
        for stage in sorted(profile.mean, key=lambda one: -profile.tail[one])
    ]
    return table(["level", "stage", "mean", "p99"], rows, numeric=frozenset({2, 3}))


def change_table(changes: Sequence[Change]) -> str:
    """What changes between levels are made of."""
    rows = [
        [
            wrapped(f"{change.factor}: {change.low} → {change.high}"),
            text(name),
            text(signed(round(whole, 9), "s")),  # less than a nanosecond is rounding
            _made_of(shares, ends),
        ]
        for change in changes
        for name, whole, shares, ends in (
            ("mean", change.mean, change.mean_shares, change.mean_shares_ci95),
            ("p99", change.tail, change.tail_shares, change.tail_shares_ci95),
        )
    ]
    return table(["change", "of", "by", "made of (95 % CI)"], rows, numeric=frozenset({2}))


def _made_of(shares: Mapping[str, float], ends: Mapping[str, tuple[float, float]]) -> str:
    if not shares:
        return text("not told from 0")
    largest = [stage for stage in sorted(shares, key=lambda one: -abs(shares[one]))[:3] if abs(shares[stage]) >= 0.005]
    said = [f"{stage} {_share(shares[stage])} ({_share(ends[stage][0])} to {_share(ends[stage][1])})" for stage in largest]
    return wrapped("; ".join(said) or NONE)


def _share(value: float) -> str:
    return minus(f"{100 * value:.0f}\u202f%")


def _named(paths: Paths) -> list[tuple[str, Profile]]:
    levels = [(f"{factor} {profile.level}", profile) for factor, found in paths.factors.items() for profile in found]
    return [("all runs", paths.overall), *levels]


def _stages(paths: Paths) -> list[str]:
    """The stages with the most time at any level, in the order of the way: as all profiles list them."""
    profiles = [profile for _, profile in _named(paths)]
    names = list(dict.fromkeys(stage for profile in profiles for stage in profile.mean))
    most = {stage: max(max(profile.mean.get(stage, 0.0), profile.tail.get(stage, 0.0)) for profile in profiles) for stage in names}
    kept = set(sorted(names, key=lambda stage: -most[stage])[:MOST_STAGES])
    return sorted((stage for stage in names if stage in kept and most[stage] > 0), key=lambda stage: (_kind(stage), -most[stage]))


def _kind(stage: str) -> str:
    first = stage.partition(" ")[0]
    return first if first in ("queueing", "transfer", "compute") else "other"


def _style(stage: str, shown: Sequence[str]) -> str:
    """Colour by kind; fainter for each further stage of a kind."""
    alike = [one for one in shown if _kind(one) == _kind(stage)]
    return f"part-{_kind(stage)} faint-{min(alike.index(stage), 3) if stage in alike else 3}"


def _key(shown: Sequence[str]) -> str:
    entries = [*shown, REST]
    return tag("ul", *(tag("li", f'<span class="swatch {_style(one, shown)}"></span>', text(one)) for one in entries), class_="key")


def _block(heading: str, profiles: Sequence[Profile], shown: Sequence[str], scale: float) -> str:
    rows = [
        _row(f"{profile.level} {name}".strip(), stages, whole, shown, scale)
        for profile in profiles
        for name, stages, whole in (("mean", profile.mean, profile.latency), ("p99", profile.tail, profile.p99))
    ]
    return tag("div", tag("h4", text(heading)), *rows, class_="bar-block")


def _row(name: str, stages: Mapping[str, float], whole: float, shown: Sequence[str], scale: float) -> str:
    values = [(stage, max(0.0, stages.get(stage, 0.0))) for stage in shown]
    values.append((REST, max(0.0, whole - sum(value for _, value in values))))
    left, drawn = 0.0, ""
    for stage, value in values:
        width = value / scale * 1000
        if width >= 0.05:
            title = tag("title", text(f"{stage}: {quantity(value, 's')}"))
            drawn += f'<rect class="{_style(stage, shown)}" x="{left:.1f}" y="0" width="{width:.1f}" height="20">{title}</rect>'
        left += width
    said = ", ".join(f"{stage} {quantity(value, 's')}" for stage, value in values if value > 0) or "nothing"
    picture = (
        '<svg class="bar stack" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(f"{name}: {said}")}">{drawn}</svg>'
    )
    label = tag("span", text(cut(name, 60)), class_="bar-name", title=name)
    return tag("div", label, picture, tag("span", text(quantity(whole, "s")), class_="bar-total"), class_="bar-row wide-name")

"""The report's tables: network and CPU shares, responses, services, warnings and what is needed to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estran.report.data import Report
from estran.report.folder import Response
from estran.report.markup import table, tag, text
from estran.report.network import Cpu, Link, LinkGroup, cpus, facts, fallbacks, flatten, group, ladders, links, worth_telling
from estran.report.sections import nothing, section
from estran.report.verdict import ordered
from estran.report.wording import NONE, count, interval, quantity
from estran.units import minus

MOST_DETAILS = 200
MOST_PARTS = 600
_QUANTITIES = ("delay", "jitter", "rate", "loss")


def badge(ok: bool | None, good: str = "within tolerance", bad: str = "outside", unknown: str = "not probed") -> str:
    """A verdict by word and shape, not by colour alone."""
    style, mark, word = {True: ("good", "✓", good), False: ("bad", "✗", bad), None: ("unknown", "○", unknown)}[ok]
    return tag("span", f'<span aria-hidden="true">{mark}</span> ', text(word), class_=f"badge {style}")


def network(report: Report) -> str:
    """What was asked of links and CPU shares, and what was measured before the workload started."""
    found = links(report.run)
    if not found:
        return section(
            "network",
            "Network and CPU, asked and measured",
            nothing("No link was asked for, or the run ended before the probes."),
            _cpu(report),
        )
    groups = group(found, report.run.hosts)
    kept = worth_telling(groups)
    if report.run.simulated:
        return _as_asked(groups, kept)
    rows = [_link_row(like, kept) for like in groups]
    heads = ["from", "to", "links", *(f"{name}: asked → measured" for name in kept), "verdict"]
    failed, probed = sum(len(like.failed) for like in groups), sum(like.probed for like in groups)
    some = f"{probed} of them probed" if probed == len(found) else f"{probed} of them, standing for those that are alike, probed"
    lead = f"{count(len(found), 'direction')}, {some} before the workload started, {failed} outside tolerance."
    parts = [
        table(heads, rows, numeric=frozenset({2}), caption="Links"),
        _complaints(groups),
        _every_link(found, groups),
        _cpu(report),
    ]
    return section("network", "Network and CPU, asked and measured", *parts, lead=lead)


def _as_asked(groups: list[LinkGroup], kept: list[str]) -> str:
    """The links of a simulated network, which is the one that was asked for."""
    rows = [
        [_whole(like.source), _whole(like.target), text(len(like.links)), *(text(like.asked(name)) for name in kept)]
        for like in groups
    ]
    links_table = table(["from", "to", "links", *kept], rows, numeric=frozenset({2}), caption="Links")
    return section("network", "Network", links_table, lead="Simulated as asked: there is nothing to measure.")


def _link_row(like: LinkGroup, kept: list[str]) -> list[str]:
    figures = [_pair(like.asked(name), like.measured(name)) for name in kept]
    return [_whole(like.source), _whole(like.target), text(len(like.links)), *figures, badge(like.ok)]


def _whole(name: str) -> str:
    return tag("span", text(name), class_="whole" if len(name) < 40 else None)


def _pair(asked: str, measured: str) -> str:
    return (
        tag("span", text(asked), class_="muted") + " → " + tag("strong", text(measured))
        if (asked, measured) != (NONE, NONE)
        else NONE
    )


def _complaints(groups: list[LinkGroup]) -> str:
    failed = [link for like in groups for link in like.failed][:20]
    return (
        tag("ul", *(tag("li", text(f"{link.source} → {link.target}: {link.complaint}")) for link in failed), class_="complaints")
        if failed
        else ""
    )


def _every_link(found: list[Link], groups: list[LinkGroup]) -> str:
    probed = [link for link in found if link.ok is not None]
    if len(probed) <= len(groups):
        return ""
    shown = sorted(probed, key=lambda link: link.ok is not False)[:MOST_DETAILS]
    rows = [
        [
            text(link.source),
            text(link.target),
            *(
                text(quantity(link.measured.get(name), unit))
                for name, unit in (("delay", "s"), ("jitter", "s"), ("rate", "bit/s"), ("loss", "fraction"))
            ),
            badge(link.ok),
        ]
        for link in shown
    ]
    heads = ["from", "to", *(f"{name} measured" for name in _QUANTITIES), "verdict"]
    every = "Every probed link" if len(shown) == len(probed) else f"{len(shown)} of {len(probed)} probed links, failed ones first"
    return tag("details", tag("summary", text(every)), table(heads, rows, numeric=frozenset({2, 3, 4, 5})))


def _cpu(report: Report) -> str:
    shares = cpus(report.run)
    if not shares:
        return ""
    alike: dict[tuple[str, float, bool], list[Cpu]] = {}
    for share in shares:
        layer = report.run.hosts[share.host].layer if share.host in report.run.hosts else share.host
        alike.setdefault((layer, share.asked, share.ok), []).append(share)
    rows = []
    for like in alike.values():
        parts = [like] if len(like) > 4 else [[share] for share in like]
        rows += [_cpu_row(report, part) for part in parts]
    heads = ["host", "device", "asked", "measured", "difference", "verdict"]
    return table(heads, rows, numeric=frozenset({2, 3, 4}), caption="CPU share, in cores of this machine")


def _cpu_row(report: Report, like: list[Cpu]) -> list[str]:
    first, worst = like[0], max(like, key=lambda share: abs(share.measured / share.asked - 1) if share.asked else 0.0)
    name = first.host if len(like) == 1 else f"{first.host} … {like[-1].host}, worst of {len(like)}"
    device = report.run.hosts[first.host].device if first.host in report.run.hosts else ""
    difference = minus(f"{(worst.measured / worst.asked - 1) * 100:+.1f}\u202f%") if worst.asked else NONE
    verdict = badge(None if worst.ok and worst.complaint else worst.ok, unknown="accepted") + (
        tag("span", text(f" {worst.complaint}"), class_="muted small") if worst.complaint else ""
    )
    return [text(name), text(device), text(quantity(worst.asked)), text(quantity(worst.measured)), text(difference), verdict]


def responses(report: Report) -> str:
    """Every response with its confidence interval: first those of the whole run, then those of its parts."""
    found = ordered(report.run.responses.values())
    if not found:
        return section("responses", "Responses", nothing("The run ended before its responses were computed."))
    parts = [response for response in found if "@" in response.name]
    body = [_responses([response for response in found if "@" not in response.name])]
    if parts:
        summary = tag("summary", text(f"{count(len(parts), 'response')} of single services, streams and hosts"))
        body.append(tag("details", summary, _responses(parts[:MOST_PARTS])))
    return section("responses", "Responses", *body)


def _responses(found: list[Response]) -> str:
    rows = [
        [
            tag("code", text(response.name)),
            tag("strong", text(quantity(response.value, response.unit, 4))),
            text(interval(response.low, response.high, response.unit)),
            text(f"{response.n:,}" if response.n is not None else NONE),
            tag("span", text(response.note), class_="muted small"),
        ]
        for response in found
    ]
    return table(["response", "value", "95 % confidence interval", "n", "note"], rows, numeric=frozenset({1, 2, 3}))


def services(report: Report) -> str:
    """How each service fared."""
    if not report.services:
        return section("services", "Services", nothing("No service was planned."))
    rows = [
        [
            text(row.name),
            text(row.kind),
            text(row.place),
            badge(not row.bad, good=row.state, bad=row.state),
            text(row.restarts),
            text(f"{row.received:,}"),
            text(f"{row.sent:,}"),
            tag("strong", text(row.errors), class_="bad-text") if row.errors else "0",
        ]
        for row in report.services
    ]
    heads = ["service", "component", "host", "state", "restarts", "messages in", "messages out", "errors"]
    return section("services", "Services", table(heads, rows, numeric=frozenset({4, 5, 6, 7})))


def warnings(report: Report) -> str:
    """Weaker means in use, and which engines did the work."""
    weaker, engines = fallbacks(report.run), facts(report.run)
    body = (
        tag("ul", *(tag("li", text(line)) for line in weaker), class_="warnings")
        if weaker
        else nothing("None: no weaker means was in use.")
    )
    return section("warnings", "Warnings and fallbacks", body, _ladders(report), pairs(engines) if engines else "")


def _ladders(report: Report) -> str:
    rows = [
        [
            text(rung.what),
            tag("strong" if rung.used else "span", text(rung.name)),
            badge(True, good="in use") if rung.used else badge(None if rung.works else False, bad="does not work", unknown="works"),
            tag("span", text(rung.why), class_="muted small"),
        ]
        for rung in ladders(report.run)
    ]
    return (
        table(["", "name", "here", "what its trial said"], rows, caption="What this machine offers, strongest first")
        if rows
        else ""
    )


def notice(report: Report) -> str:
    """The warnings once more, briefly, where nobody overlooks them."""
    weaker = fallbacks(report.run)
    if not weaker:
        return ""
    shown = [tag("li", text(line)) for line in weaker[:3]]
    if len(weaker) > 3:
        shown.append(tag("li", f'<a href="#warnings">and {len(weaker) - 3} more</a>'))
    lead = tag("strong", text(f"{count(len(weaker), 'warning')}: read the figures with these in mind"))
    return tag("aside", lead, tag("ul", *shown), class_="notice", aria_label="Warnings")


def reproducibility(report: Report) -> str:
    """Everything that another lab needs to run it again."""
    run, manifest = report.run, report.run.manifest
    command = manifest.get("command")
    known = [
        ("run", str(run.run.get("id", ""))),
        ("started", str(run.run.get("started", ""))),
        ("ended", str(run.run.get("ended") or "")),
    ]
    known += [("platform", str(run.run.get("platform", ""))), ("seed", str(run.run.get("seed", "")))]
    known += [(f"factor {name}", str(value)) for name, value in run.factors.items()]
    rest: Mapping[str, Any] = {key: value for key, value in manifest.items() if key != "command"}
    parts = [pairs([pair for pair in known if pair[1]])]
    if command:
        line = " ".join(map(str, command)) if isinstance(command, list) else str(command)
        parts.insert(0, tag("pre", tag("code", text(line)), class_="command", tabindex="0"))
    if rest:
        parts.append(tag("details", tag("summary", "Versions, machine, git state and hashes"), pairs(flatten(rest)), open="open"))
    phases = [phase for phase in run.run.get("phases") or [] if isinstance(phase, dict)]
    if phases:
        rows = [
            [text(phase.get("name")), text(quantity(phase.get("seconds"), "s")), text(phase.get("status") or "")]
            for phase in phases
        ]
        parts.append(
            tag("details", tag("summary", "Phases of the run"), table(["phase", "took", "status"], rows, numeric=frozenset({1})))
        )
    return section("reproducibility", "To run it again", *parts)


def pairs(found: list[tuple[str, str]]) -> str:
    """Names with their values, as a list."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", text(name).replace("_", "_<wbr>").replace(".", ".<wbr>")), tag("dd", text(value)))
            for name, value in found
        ),
        class_="pairs",
    )

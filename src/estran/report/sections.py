"""The report's pictures: topology, accuracy, latency, hosts and staleness, each with its reading in words."""

from __future__ import annotations

from estran.report import bars, charts, drawing
from estran.report.data import Report
from estran.report.faults import faults_table, marked
from estran.report.markup import table, tag, text
from estran.report.recorded import recorded_charts
from estran.report.topology import arrange
from estran.report.usage import MOST_LINES, Energy
from estran.report.wording import count, quantity

CHART_TITLES = {
    "cpu": "Processor in use (cores of speed 1.0)",
    "received": "Bytes received per second",
    "sent": "Bytes sent per second",
    "memory": "Memory in use",
}


def section(identity: str, title: str, *body: str, lead: str = "") -> str:
    """A titled part of the page with an anchor."""
    head = tag("h2", text(title), id=f"{identity}-title")
    return tag(
        "section",
        head,
        tag("p", text(lead), class_="lead") if lead else "",
        *body,
        id=identity,
        aria_labelledby=f"{identity}-title",
    )


def chart_figure(identity: str, title: str, caption: str = "", *, tall: bool = False) -> str:
    """The place of an interactive chart; its caption says in words what it shows."""
    place = tag(
        "div",
        tag("noscript", tag("p", text("This chart needs JavaScript; the figures are in the text and tables."), class_="muted")),
        class_="chart tall" if tall else "chart",
        data_chart=identity,
        tabindex="0",
        role="img",
        aria_label=f"{title}. {caption} Left and right arrow keys move the cursor.",
    )
    heading = tag("h3", text(title)) if title else ""
    return tag("figure", heading, place, tag("figcaption", text(caption)) if caption else "")


def nothing(why: str) -> str:
    """What stands in for a picture that a run cannot have."""
    return tag("p", text(why), class_="absent")


def topology(report: Report) -> str:
    """Layers as lanes, hosts as boxes, streams as arrows."""
    if not report.run.hosts:
        return section("topology", "Topology", nothing("The run ended before its hosts were planned."))
    failure = report.run.failure or {}
    arranged = arrange(report.run)
    drawn = drawing.draw(arranged, failed=frozenset(str(failure[key]) for key in ("service",) if failure.get(key)))
    keys = [
        ("flow-key", "acknowledged stream: nothing lost, in order"),
        ("flow-key latest", "latest stream: newest message wins"),
    ]
    legend = tag("ul", *(tag("li", f'<span class="{style}"></span>', text(words)) for style, words in keys), class_="key")
    run = report.run
    lead = f"{count(len(run.hosts), 'host')}, {count(len(run.replicas), 'service replica')}, {count(len(run.channels), 'channel')}."
    scroll = tag("div", drawn, class_="scroll", tabindex="0", role="region", aria_label="Topology drawing")
    return section("topology", "Topology", tag("figure", scroll, legend), lead=lead)


def accuracy(report: Report) -> str:
    """Accuracy over time against its baselines, with publications and the warm-up."""
    found = report.accuracy
    if found is None:
        why = "No answer to a sample whose true class is known was recorded, so there is no accuracy to report."
        if not any(replica.kind == "predictor" for replica in report.run.replicas.values()):
            why = "No predictor runs in this experiment, so nothing was answered and there is no accuracy to report."
        return section("accuracy", "Accuracy over time", nothing(why))
    published = report.publications
    caption = (
        f"Share of right answers in windows of {quantity(found.width, 's', 2)} ({count(sum(found.answered), 'answer')} in all). "
        f"Ticks above the axis: {count(len(published.published), 'model')} published, {len(published.swapped)} taken into service. "
        "The shaded part at the beginning is the warm-up, which no response counts"
        + ("; the others are times in which something was broken." if report.faults else ".")
    )
    return section("accuracy", "Accuracy over time", chart_figure("accuracy", "", caption, tall=True))


def latency(report: Report) -> str:
    """Where the time of messages went, and its distribution."""
    if not report.legs:
        why = "No message was processed after the warm-up."
        if "exchange_latency" in report.run.responses:
            why += " How long commands waited for each other's answers is among the responses, as exchange_latency."
        return section("latency", "Latency", nothing(why))
    rows = [
        [
            text(leg.service),
            text(leg.stream),
            text(name),
            *(text(quantity(value, "s")) for value in (stage.queueing, stage.transfer, stage.compute, stage.total)),
        ]
        for leg in report.legs
        for name, stage in (("mean", leg.mean), ("slowest 1 %", leg.slowest))
    ]
    heads = ["service", "stream", "messages", "queueing", "transfer", "compute", "sum"]
    details = tag("details", tag("summary", "The same figures as a table"), table(heads, rows, numeric=frozenset({3, 4, 5, 6})))
    split = tag(
        "figure",
        tag("h3", "By stage"),
        bars.key(),
        bars.stacked(report.legs),
        tag("figcaption", text("Percentiles do not add up, so the lower bar is the mean of the slowest 1 % of messages.")),
        details,
    )
    return section("latency", "Latency", split, _distributions(report))


def latency_by_costs(report: Report) -> str:
    """The distribution of latency at each service, where there are histograms instead of messages."""
    if not report.distributions:
        return section("latency", "Latency", nothing("No message was processed after the warm-up."))
    return section("latency", "Latency", _distributions(report))


def _distributions(report: Report) -> str:
    first = report.distributions[0]
    caption = (
        f"{first.service} ← {first.stream}: half within {quantity(first.at(0.5), 's')}, "
        f"90 % within {quantity(first.at(0.9), 's')}, 99 % within {quantity(first.at(0.99), 's')}, "
        f"all within {quantity(first.at(1.0), 's')}."
    )
    return chart_figure("ecdf", "End to end: share of messages processed within a time from their creation", caption, tall=True)


def hosts(report: Report) -> str:
    """Processor, traffic, memory and energy."""
    used = report.usage
    if used is None:
        return section("hosts", "Hosts", nothing("No host was sampled."))
    banded = len(report.run.hosts) > MOST_LINES
    lead = (
        "Lines are means over the hosts of a layer, bands their range."
        if banded
        else "A colour for each layer, a dash for each of its hosts."
    )
    figures = [chart_figure(name, CHART_TITLES[name]) for name in used.series]
    return section("hosts", "Hosts", tag("div", *figures, class_="grid"), _energy(report), lead=lead)


def _energy(report: Report) -> str:
    if not report.energy:
        return tag("figure", tag("h3", "Energy"), nothing("No energy was recorded for this run."))
    entries = _per_layer(report.energy) if len(report.energy) > MOST_LINES * 2 else report.energy
    most = max(entry.joules for entry in entries) or 1.0
    layers = list(dict.fromkeys(host.layer for host in report.run.hosts.values()))
    rows = [
        [
            text(entry.host),
            text(entry.device),
            text(quantity(entry.watts, "W")),
            text(quantity(entry.joules, "J")),
            _meter(entry.joules / most, drawing.layer_class(layers.index(entry.layer))),
            text(report.energy_sources.get(entry.host) or _source(report, entry.layer)),
        ]
        for entry in entries
    ]
    total = sum(entry.joules for entry in report.energy)
    caption = f"Energy after the warm-up: {quantity(total, 'J')} in all"
    heads = ["host", "device", "mean power", "energy", "", "how it is known"]
    return tag("figure", tag("h3", "Energy"), table(heads, rows, numeric=frozenset({2, 3}), caption=caption))


def _source(report: Report, layer: str) -> str:
    """The sources of a layer's hosts, or that none was recorded."""
    known = [
        report.energy_sources[host.name]
        for host in report.run.hosts.values()
        if host.layer == layer and host.name in report.energy_sources
    ]
    return "; ".join(dict.fromkeys(known)) or "source not recorded"


def _per_layer(entries: list[Energy]) -> list[Energy]:
    together: dict[str, list[Energy]] = {}
    for entry in entries:
        together.setdefault(entry.layer, []).append(entry)
    return [
        Energy(
            f"{layer} ({count(len(like), 'host')})",
            layer,
            like[0].device,
            sum(entry.joules for entry in like),
            sum(entry.watts for entry in like),
        )
        for layer, like in together.items()
    ]


def _meter(share: float, style: str) -> str:
    return (
        f'<svg class="meter {style}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{share * 100:.1f}" height="10" rx="0"/></svg>'
    )


def staleness(report: Report) -> str:
    """Age of the answering model over time."""
    found = report.staleness
    if found is None:
        return section(
            "staleness", "Staleness", nothing("No answer names a model version that was published over a stream of this run.")
        )
    caption = "Time from the publication of the answering model to the answer; the band holds 90 % of answers."
    if found.median is not None and found.p95 is not None:
        caption += f" After the warm-up: median {quantity(found.median, 's')}, 95 % below {quantity(found.p95, 's')}."
    return section("staleness", "Staleness of the serving model", chart_figure("staleness", "", caption))


def recorded(report: Report) -> str:
    """Metrics that components recorded."""
    if not report.recorded:
        return section("recorded", "Recorded metrics", nothing("No component recorded a metric of its own."))
    figures = [chart_figure(f"recorded-{one.metric}", one.metric) for one in report.recorded]
    lead = "What the services say of themselves; a line is the mean over a service's replicas."
    return section("recorded", "Recorded metrics", tag("div", *figures, class_="grid"), lead=lead)


def faults(report: Report) -> str:
    """What broke, and what it cost."""
    if report.faults is None:
        return section("faults", "Faults", nothing("This run has no faults."))
    lead = "What broke on purpose; times are of the run's clock. Costs are defined in docs/reference/responses.md."
    return section("faults", "Faults", faults_table(report.faults), lead=lead)


def chart_data(report: Report) -> list[charts.Chart]:
    """The data of every chart on the page."""
    warmup = report.run.warmup
    layers = list(dict.fromkeys(host.layer for host in report.run.hosts.values()))
    found: list[charts.Chart] = []
    if report.accuracy is not None:
        found.append(charts.accuracy_chart(report.accuracy, report.publications, warmup))
    if report.distributions:
        found.append(charts.ecdf_chart(report.distributions))
    if report.usage is not None:
        found.extend(charts.usage_charts(report.usage, layers, warmup))
    if report.staleness is not None:
        found.append(charts.staleness_chart(report.staleness, warmup))
    found.extend(recorded_charts(report.recorded, warmup))
    return [marked(report.faults, chart) for chart in found]

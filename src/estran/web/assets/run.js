// One run: what its stream of figures says, shown everywhere on the page.
(() => {
  "use strict";
  const { make, byId, fill, ask, order, quantity, duration, moment, state } = estranPage;
  const { keep } = estranTables;
  const { key, awaited } = document.body.dataset;
  const TILES = ["accuracy", "latency_p50", "latency_p99", "exchange_latency_p50", "exchange_latency_p99", "throughput", "staleness", "samples", "energy", "loss"];
  const plots = new Map();
  const edges = JSON.parse(document.body.dataset.edges || "[]");
  let newest = null, zoomed = null, placed = null, reported = Boolean(document.body.dataset.report);

  // The head: how it is going

  const head = ({ run }) => {
    document.title = `${run.status}: ${run.experiment} · Estran`;
    const style = { done: "done", failed: "failed", running: "running", killed: "failed" }[run.status] || "interrupted";
    byId("run-status").className = `status ${style}`;
    byId("run-status").textContent = run.status;
    byId("run-name").textContent = run.experiment;
    const levels = Object.entries(run.factors).map(([name, level]) => `${name} ${level}`);
    byId("run-facts").textContent = [run.id, `platform ${run.platform}`, `seed ${run.seed}`, ...levels, moment(run.started)].join(" · ");
    const failure = run.failure;
    fill("failure", ...(failure ? [make("section", { class: "failure", role: "alert" },
      make("h2", {}, `Failed in ${[failure.phase, failure.host, failure.service].filter(Boolean).join(" · ")}`), make("p", { class: "cause" }, failure.what),
      failure.remedy ? make("p", {}, `What to do: ${failure.remedy}`) : "", failure.log_tail?.length ? make("pre", { tabindex: "0" }, failure.log_tail.join("\n")) : "")] : []));
    fill("phases", ...run.phases.map((phase) => {
      const left = phase.status === "running" && phase.expected ? ` of ${duration(phase.expected)}` : "";
      const item = make("li", { class: phase.status, "aria-current": phase.status === "running" ? "step" : null }, make("b", {}, phase.name), ` ${duration(phase.seconds)}${left}`);
      if (phase.status === "running" && phase.expected) item.append(make("progress", { max: phase.expected, value: Math.min(phase.seconds, phase.expected), "aria-label": phase.name }));
      return item;
    }));
    byId("left").hidden = run.left === null && run.status !== "killed";
    byId("left").textContent = run.left === null ? (run.status === "killed" ? "The process that conducted it was killed; `estran clean` recovers what it recorded." : "")
      : `${run.until ? "At most" : "About"} ${duration(run.left)} left.`;
  };

  // Two numbers with their unit once, where it is the same.
  const range = (ends, unit) => {
    const [low, high] = ends.map((end) => quantity(end, unit));
    const [number, name] = low.split(" ");
    return name && high.endsWith(` ${name}`) ? `${number} to ${high}` : `${low} to ${high}`;
  };
  const tiles = ({ figures, run }) => {
    const known = TILES.map((name) => figures.find((one) => one.name === name)).filter(Boolean).slice(0, 8);
    const beside = (one) => (one.ci95 ? `95 % CI ${range(one.ci95, one.unit)}` : run.whole ? "" : { accuracy: "of the last 500 answers", samples: "answers so far", energy: "of all hosts so far" }[one.name] || "in the last 5 s");
    fill("figures", ...known.map((one) => make("div", {}, make("dt", {}, one.name.replaceAll("_", " ")), make("dd", {}, make("b", {}, quantity(one.value, one.unit)), make("small", {}, beside(one))))));
  };

  let told = "";
  const warn = (all) => {
    const alerts = all.alerts.filter((alert) => alert.kind !== "failed"); // that is told in full above
    const now = JSON.stringify(alerts);
    if (now === told) return;
    told = now;
    byId("alerts").hidden = alerts.length === 0;
    const shown = alerts.map((alert) => make("li", { class: alert.level }, make("span", { "aria-hidden": "true" }, alert.level === "bad" ? "✗ " : "⚠ "), alert.time === null ? "" : make("span", { class: "muted" }, `${alert.time.toFixed(1)} s  `), alert.what));
    const more = shown.splice(4);
    fill("alerts", ...shown, more.length ? make("li", { class: "more" }, make("details", { open: byId("alerts").querySelector("details")?.open }, make("summary", {}, `${more.length} more`), make("ul", { class: "alerts" }, ...more))) : "");
  };

  const links = ({ run }) => {
    const wanted = reported ? "report" : run.over ? "make" : "";
    if (byId("links").dataset.now === wanted) return;
    byId("links").dataset.now = wanted;
    const said = make("span", { class: "muted", role: "status" });
    const button = make("button", { type: "button", onclick: async () => {
      button.disabled = true;
      said.textContent = " writing …";
      try {
        await order(`/api/run/${key}/report`);
        reported = true;
        links(newest);
      } catch (error) {
        said.textContent = ` ${error.message}`;
        button.disabled = false;
      }
    } }, "Make the report");
    fill("links", ...(wanted === "report" ? [make("a", { href: `/run/${key}/report` }, "Report")] : wanted === "make" ? [button, said] : []));
  };

  // Tables

  const meter = (share, layer) => {
    if (share === null || share === undefined) return "–";
    const bar = make("meter", { min: 0, max: 1, high: 0.95, value: Math.min(1, share) });
    return make("span", { class: "metered" }, bar, ` ${Math.round(share * 100)} %`);
  };
  const tables = (now) => {
    keep(byId("edge-table"), ["stream", "from", "to", "messages", "bytes", "under way", "in the queue", "link: asked", "measured", "model"], edges.map((edge) => {
      const flow = now.edges[edge.id] || {};
      const quantities = (of) => ["delay", "rate", "loss"].map((name) => of[name]).filter((value) => value && value !== "–").join(", ") || "–";
      return [edge.stream, edge.from, edge.to, quantity(flow.rate, "/s"), quantity(flow.bytes, "B/s"), quantity(flow.transfer, "s"), quantity(flow.wait, "s"), quantities(flow.asked || {}),
        make("span", {}, flow.ok === false ? make("span", { class: "badge bad" }, "✗ ") : "", quantities(flow.probed || {})), flow.version === null || flow.version === undefined ? "" : `v${flow.version}`];
    }), { numeric: [3, 4, 5, 6], caption: "Streams now", nothing: "There are no streams between services." });
    byId("edge-table").hidden = edges.length === 0 && now.exchanges.length > 0;
    byId("exchange-table").hidden = now.exchanges.length === 0;
    keep(byId("exchange-table"), ["commands: client", "server", "port", "exchanges", "bytes", "request to answer"], now.exchanges.map((one) => [one.client, one.server, one.port,
      quantity(one.rate, "/s"), quantity(one.bytes, "B/s"), quantity(one.transfer, "s")]), { numeric: [2, 3, 4, 5], caption: "Exchanges of commands now" });
    const layers = [...new Set(now.hosts.map((host) => host.layer))];
    keep(byId("host-table"), ["host", "layer", "device", "processor", "memory", "power", "energy", "received", "sent"], now.hosts.map((host) => [host.name,
      make("span", {}, make("span", { class: `swatch layer-${layers.indexOf(host.layer) % 6} filled`, "aria-hidden": "true" }), host.layer), host.device,
      meter(host.cpu === null || !host.capacity ? null : host.cpu / host.capacity), quantity(host.memory, "B"), quantity(host.power, "W"), quantity(host.energy, "J"),
      quantity(host.received, "B/s"), quantity(host.sent, "B/s")]), { numeric: [4, 5, 6, 7, 8], caption: "Hosts now" });
    keep(byId("replica-table"), ["service", "component", "host", "state", "restarts", "errors", "model", "messages in", "out"], now.replicas.map((one) => [one.name, one.kind, one.host,
      make("span", { title: one.detail }, state(one.state)), one.restarts, one.errors, one.version === null ? "" : `v${one.version}`, quantity(one.in, "/s"), quantity(one.out, "/s")]), { numeric: [4, 5, 7, 8], caption: "Services now" });
    keep(byId("model-table"), ["publisher", "version", "published", "size", "arrived"], now.models.map((one) => [one.publisher, `v${one.version}`, `${one.published.toFixed(2)} s`, quantity(one.bytes, "B"),
      one.arrivals.map((at) => `${at.replica} at ${at.at.toFixed(2)} s (${quantity(at.travel, "s")} under way)`).join(", ") || "under way, or not sent"]), { numeric: [2, 3], caption: "The newest models", nothing: "No model was published so far." });
    const names = [...new Set(now.links.flatMap((link) => Object.keys(link.quantities)))];
    keep(byId("link-table"), ["from", "to", "links", ...names.map((name) => `${name}: asked → measured`), "under way now", "carried now", "verdict"], now.links.map((link) => [link.source, link.target, link.links,
      ...names.map((name) => (link.quantities[name] || ["–", "–"]).join(" → ")), quantity(link.now?.transfer, "s"), link.now ? quantity(link.now.bytes * 8, "bit/s") : "–",
      link.ok === false ? make("span", { class: "badge bad", title: link.complaints.join("; ") }, "✗ out of tolerance") : link.ok === null ? make("span", { class: "badge unknown" }, "○ not probed") : make("span", { class: "badge good" }, "✓ as asked")]),
      { numeric: [2], caption: "Links", nothing: "No link is shaped." });
    byId("fault-table").hidden = now.faults.length === 0;
    keep(byId("fault-table"), ["fault", "kind", "of", "begun", "over"], now.faults.map((one) => [one.key, one.kind, one.targets.join(", "), `${one.begun.toFixed(2)} s`,
      one.ended === null ? (now.run.whole ? "never" : make("span", { class: "badge bad" }, "✗ on")) : `${one.ended.toFixed(2)} s`]), { numeric: [3, 4], caption: "Faults" });
    keep(byId("event-table"), ["time", "service", "event", "what"], now.events.map((event) => [`${event.time.toFixed(2)} s`, event.replica || event.host, event.event, event.detail]), { numeric: [0], caption: "Events", nothing: "Nothing of note has happened." });
  };

  // Charts

  const shapeOf = (chart) => chart.series.map((line) => `${line.label}${line.low ? "~" : ""}`).join("|");
  // Charts are drawn when they come near to what is in sight, and brought up to date while they are.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const known = plots.get(entry.target.dataset.chart);
      known.seen = entry.isIntersecting;
      if (known.seen) drawChart(known);
    }
  }, { rootMargin: "400px" });
  const placeOf = (chart) => {
    const place = make("div", { class: "chart", tabindex: "0", role: "img", "data-chart": chart.id, "aria-label": `${chart.title}. Left and right arrow keys move the cursor.` });
    byId("chart-list").append(make("figure", {}, make("h3", {}, chart.title), place));
    near.observe(place);
    return { place, shape: null, drawn: null, seen: false, next: null };
  };
  const drawCharts = (charts) => {
    // All places first: how wide one is depends on how many there are.
    for (const chart of charts) if (!plots.has(chart.id)) plots.set(chart.id, placeOf(chart));
    for (const chart of charts) {
      const known = plots.get(chart.id);
      known.next = chart;
      if (known.seen) drawChart(known);
    }
  };
  const drawChart = (known) => {
    const chart = known.next;
    if (!chart) return;
    known.next = null;
    if (known.drawn && known.shape === shapeOf(chart)) known.drawn.update(chart);
    else {
      known.drawn?.remove();
      known.shape = shapeOf(chart);
      known.drawn = estranPlot.make(chart, known.place, { setSelect: [closer] });
    }
    requestAnimationFrame(() => point(known)); // when it knows how wide it is
  };
  addEventListener("beforeprint", () => plots.forEach(drawChart));
  const closer = (plot) => {
    if (plot.select.width < 4) return;
    zoomed = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")];
    byId("whole").disabled = false;
    look();
  };
  const look = async () => {
    const [start, end] = zoomed;
    const charts = await ask(`/api/run/${key}/charts?start=${start}&end=${end}&width=${width()}`);
    if (zoomed && zoomed[0] === start) drawCharts(charts);
  };
  const whole = () => {
    zoomed = null;
    byId("whole").disabled = true;
    if (newest) drawCharts(newest.charts);
  };
  const redraw = () => {
    for (const known of plots.values()) {
      known.drawn?.remove();
      known.drawn = null;
    }
    if (zoomed) look();
    else if (newest) drawCharts(newest.charts);
  };
  const width = () => Math.round(Math.max(300, byId("chart-list").clientWidth / 2) * Math.min(2, devicePixelRatio));
  byId("whole").addEventListener("click", whole);
  byId("chart-list").addEventListener("dblclick", whole);
  addEventListener("estran-theme", redraw);
  let wide = innerWidth, waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === wide) return;
    wide = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 150);
  });

  // The stream

  const figures = (now) => {
    for (const part of [tiles, warn, tables]) part(now);
    estranTopology.update(now, edges);
  };
  const show = (now) => {
    newest = now;
    for (const part of [head, figures, links]) part(now);
    estranLogs.names([...now.replicas, ...now.hosts].map((one) => one.name));
    estranFault.offer(now, edges);
    if (!zoomed) drawCharts(now.charts);
    if (now.run.over && !awaited) estranReplay.offer(now.run.clock, replayed);
    document.body.dataset.ready = "yes";
  };
  // A moment of a finished run; charts are whole, and a line says where in them it is.
  const replayed = (now, at) => {
    figures(now || newest);
    estranLogs.until(at);
    placed = at;
    for (const known of plots.values()) point(known);
  };
  const point = ({ drawn }) => {
    if (!drawn) return;
    const over = drawn.plot.over;
    const line = over.querySelector(".moment") || over.appendChild(make("div", { class: "moment", hidden: true }));
    const left = placed === null ? -1 : drawn.plot.valToPos(placed, "x");
    line.hidden = !(left >= 0 && left <= over.clientWidth);
    if (!line.hidden) line.style.transform = `translateX(${left}px)`;
  };
  const ended = (why) => {
    byId("ended").hidden = false;
    byId("links").hidden = true; // nobody would answer
    byId("ended").textContent = `${why} This page shows what came last. To see it again: estran watch ${newest ? newest.run.id : ""}`;
  };
  const listen = () => {
    const source = new EventSource(`/api/run/${key}/stream?width=${width()}`);
    let lost = 0, came = 0;
    source.addEventListener("message", (event) => {
      lost = 0;
      came += 1;
      byId("link").textContent = "";
      show(JSON.parse(event.data));
      estranLogs.read();
    });
    source.addEventListener("end", (event) => {
      source.close();
      if (event.data === "gone") return ended("The server has ended.");
      if (awaited) ended("The run is over, and this server ends with it.");
      else if (came > 1) estranLogs.read();
    });
    source.addEventListener("problem", (event) => {
      source.close();
      ended(`${JSON.parse(event.data)}.`);
    });
    source.addEventListener("error", () => {
      lost += 1;
      byId("link").textContent = "no connection …";
      if (lost < 4) return;
      source.close();
      ended("The server has ended.");
      byId("link").textContent = "";
    });
  };
  // A run that is awaited: once it is planned, the page comes anew, with its drawing.
  const wait = async () => {
    try {
      if ((await ask(`/api/run/${key}/drawing`)).nodes.length) return location.reload();
    } catch (error) {
      if (error instanceof TypeError) return ended("The server has ended.");
      if (error.status !== 404) return ended(`${error.message}.`);
    }
    setTimeout(wait, 500);
  };
  if (awaited && !document.body.dataset.edges) wait();
  else listen();
})();

// The deployment, drawn: layers, hosts, services, and what flows between them now.
globalThis.estranTopology = (() => {
  "use strict";
  const { byId, quantity } = estranPage;
  const colour = (name) => estranPlot.colour(name);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let graph = null;

  const look = () => {
    const text = { color: colour("ink"), "font-family": "system-ui, sans-serif", "text-wrap": "wrap", "line-height": 1.25 };
    const layer = (node) => colour(`layer-${node.data("layer")}`);
    return [
      { selector: "node", style: { ...text, label: "data(said)", shape: "round-rectangle", "font-size": 15, "text-valign": "center", "text-halign": "center" } },
      { selector: "node[kind = 'lane']", style: { "background-color": colour("sunk"), "border-width": 0, "text-valign": "top", "font-size": 17, "font-weight": "bold", padding: 26, "text-margin-y": -4 } },
      { selector: "node[kind = 'box']", style: { "background-color": colour("card"), "border-color": layer, "border-width": 2, "text-valign": "top", padding: 12, "font-size": 14, "text-margin-y": -3, width: 190, height: 24 } },
      { selector: "node[kind = 'chip']", style: { "background-color": colour("sunk"), "border-color": colour("rule"), "border-width": 1, width: 190, height: 46, "text-max-width": 184 } },
      { selector: "node[?bad]", style: { "border-color": colour("bad"), "border-width": 4, "border-style": "double" } },
      { selector: "node[?warn]", style: { "border-color": colour("warn"), "border-width": 3, "border-style": "dashed" } },
      { selector: "edge", style: { ...text, label: "data(said)", "font-size": 14, "curve-style": "bezier", "control-point-step-size": 90, width: "data(width)", "text-margin-y": "data(shift)", "line-color": colour("soft"),
        "target-arrow-color": colour("soft"), "target-arrow-shape": "triangle", "text-background-color": colour("paper"), "text-background-opacity": 0.9, "text-background-padding": 3, "arrow-scale": 1.1 } },
      { selector: "edge[way = 'on']", style: { "source-endpoint": "90deg", "target-endpoint": "270deg" } },
      { selector: "edge[way = 'back']", style: { "source-endpoint": "270deg", "target-endpoint": "90deg" } },
      { selector: "edge[way = 'along']", style: { "source-endpoint": "90deg", "target-endpoint": "90deg", "text-margin-x": 72 } },
      { selector: "edge[delivery = 'latest']", style: { "line-style": "dashed", "line-dash-pattern": [8, 5] } },
      { selector: "edge[bend != 0]", style: { "curve-style": "unbundled-bezier", "control-point-distances": (edge) => [2 * edge.data("bend")], "control-point-weights": [0.5] } },
      { selector: "edge[!flows]", style: { opacity: 0.75 } },
      { selector: "edge[?bad]", style: { "line-color": colour("bad"), "target-arrow-color": colour("bad"), "line-style": "dotted" } },
      { selector: "edge.fresh", style: { "line-color": colour("main"), "target-arrow-color": colour("main"), width: 6 } },
      { selector: ":selected", style: { "overlay-color": colour("main"), "overlay-opacity": 0.15 } },
    ];
  };

  const height = (nodes) => {
    const lanes = Math.max(1, nodes.filter((node) => node.kind === "lane").length);
    const ys = nodes.map((node) => node.y || 0);
    const tall = Math.max(...ys, 0) - Math.min(...ys, 0) + 240;
    const scale = Math.min(1.1, byId("drawing").clientWidth / (lanes * 470 - 200));
    return Math.min(Math.max(240, tall * scale), innerHeight * 0.8);
  };

  const fit = () => {
    if (!graph) return;
    graph.resize();
    graph.fit(undefined, 16);
    if (graph.zoom() > 1.15) {
      graph.zoom(1.15);
      graph.center();
    }
  };

  const draw = ({ nodes, edges }) => {
    const place = byId("drawing");
    place.style.height = `${height(nodes)}px`;
    graph = cytoscape({
      container: place, style: look(), layout: { name: "preset" }, userZoomingEnabled: false, autoungrabify: true, boxSelectionEnabled: false,
      elements: [
        ...nodes.map(({ x, y, ...data }) => ({ data: { ...data, said: data.label }, ...(x === undefined ? {} : { position: { x, y } }), selectable: data.kind !== "lane" })),
        ...edges.map((data) => ({ data: { ...data, said: data.told ? data.stream : "", width: 2, flows: 0 } })),
      ],
    });
    fit();
    graph.on("select", (event) => { byId("chosen").textContent = event.target.data("more") || event.target.data("label") || ""; });
    graph.on("unselect", () => { byId("chosen").textContent = ""; });
  };

  // Exchanges of commands: nobody planned them, so their arrows are drawn when they are seen; those of like hosts are one.
  const exchanges = (all) => {
    const together = new Map();
    for (const one of all) {
      if (!one.source || !one.target || one.source === one.target) continue;
      const name = `exchange ${one.source} ${one.target} ${one.port}`;
      const sum = together.get(name) || { ...one, name, rate: 0, bytes: 0, spent: 0 };
      together.set(name, { ...sum, rate: sum.rate + one.rate, bytes: sum.bytes + one.bytes, spent: sum.spent + one.rate * (one.transfer || 0) });
    }
    for (const { name, source, target, port, rate, bytes, spent } of together.values()) {
      if (!graph.getElementById(name).length) {
        const along = graph.getElementById(target).position("x") - graph.getElementById(source).position("x");
        graph.add({ data: { id: name, source, target, told: 1, bend: along ? 0 : -46, shift: 0, way: along > 0 ? "on" : along < 0 ? "back" : "along", width: 2, flows: 0 } });
      }
      const said = rate ? `port ${port}\n${quantity(rate, "/s")} · ${quantity(spent / rate, "s")}` : `port ${port}`;
      graph.getElementById(name).data({ said, width: rate ? 2 + Math.min(4, Math.log10(1 + rate)) : 2, flows: rate > 0 ? 1 : 0,
        more: `exchanges on port ${port}: ${quantity(rate, "/s")}, ${quantity(bytes, "B/s")}, ${quantity(rate ? spent / rate : null, "s")} from request to answer` });
    }
  };

  const share = (value) => (value === null ? null : `cpu ${Math.round(value * 100)} %`);
  const update = (now) => {
    if (!graph) return;
    graph.batch(() => {
      exchanges(now.exchanges);
      for (const [identity, flow] of Object.entries(now.edges)) {
        const edge = graph.getElementById(identity);
        if (!edge.length) continue;
        const { stream, asked, probed, ok, version, from, to, told, channels } = edge.data();
        const label = flow.label;
        const lines = label ? [stream + (told > channels ? ` ×${told}` : "") + (label.version === null ? "" : ` · v${label.version}`)] : [];
        if (flow.broken && label) lines.push("✗ broken on purpose");
        if (label?.rate) lines.push(`${quantity(label.rate, "/s")} · ${quantity(label.transfer, "s")}`);
        const link = asked.delay ? `link asked ${asked.delay}, ${asked.rate}; measured ${probed.delay || "–"}, ${probed.rate || "–"}` : "no link is shaped";
        edge.data({ said: lines.join("\n"), width: flow.rate ? 2 + Math.min(4, Math.log10(1 + flow.rate)) : 2, flows: flow.rate > 0 ? 1 : 0, bad: ok === false || flow.broken ? 1 : 0,
          more: `${stream}, ${from} → ${to}: ${quantity(flow.rate, "messages/s")}, ${quantity(flow.bytes, "B/s")}, under way ${quantity(flow.transfer, "s")}, in the queue ${quantity(flow.wait, "s")}; ${link}`, version: flow.version });
        if (version !== undefined && version !== null && flow.version > version && !calm.matches) {
          edge.addClass("fresh");
          setTimeout(() => edge.removeClass("fresh"), 700);
        }
      }
      for (const [identity, figures] of Object.entries(now.boxes)) {
        const box = graph.getElementById(identity);
        const said = [share(figures.cpu), figures.memory === null ? null : quantity(figures.memory, "B"), figures.power === null ? null : quantity(figures.power, "W")].filter(Boolean).join(" · ");
        box.data({ said: `${figures.broken ? "✗ " : ""}${box.data("label")}\n${said || box.data("device")}`, warn: figures.cpu > 0.95 ? 1 : 0, bad: figures.broken ? 1 : 0, more: `${box.data("label")}, ${box.data("device")}: ${said}` });
      }
      for (const [identity, chip] of Object.entries(now.chips)) {
        const node = graph.getElementById(identity);
        const states = Object.entries(chip.states);
        const words = states.length === 1 ? states[0][0] : states.map(([state, count]) => `${count} ${state}`).join(", ");
        const version = !chip.versions ? "" : chip.versions[0] === chip.versions[1] ? ` · v${chip.versions[0]}` : ` · v${chip.versions[0]}–${chip.versions[1]}`;
        node.data({ said: `${chip.broken ? "✗ " : ""}${node.data("label")}\n${words}${version}${chip.restarts ? ` · ↻${chip.restarts}` : ""}`, warn: chip.restarts ? 1 : 0, bad: chip.broken ? 1 : 0,
          more: `${node.data("label")} (${node.data("about")}): ${words}${version}${chip.restarts ? `, restarted ${chip.restarts} times` : ""}` });
      }
    });
  };

  addEventListener("estran-theme", () => { if (graph) graph.style(look()); });
  addEventListener("resize", fit);
  byId("fit").addEventListener("click", fit);
  return { draw, update, graph: () => graph };
})();

// Draws a chart as pages of Estran do: with its warm-up, marks and bands, in the colours of the theme, usable from the keyboard.
globalThis.estranPlot = (() => {
  "use strict";
  // Colours live in the style sheet; a probe element turns a variable into what the current theme makes of it.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const known = new Map(); // of this theme: asking costs a new layout each time
  const colour = (name) => {
    if (!known.has(name)) {
      probe.style.color = `var(--${name})`;
      known.set(name, getComputedStyle(probe).color);
    }
    return known.get(name);
  };
  addEventListener("estran-theme", () => known.clear(), { capture: true });
  const faded = (rgb, alpha) => rgb.replace(/^rgba?\(([^)]*)\)$/, (_, parts) => `rgba(${parts.split(/[ ,/]+/).slice(0, 3).join(", ")}, ${alpha})`);

  // Numbers as the rest of the report writes them.
  const scales = {
    s: [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]],
    "B/s": [[1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"], [1, "B/s"]],
    "bit/s": [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"], [1, "bit/s"]],
    J: [[1e6, "MJ"], [1e3, "kJ"], [1, "J"], [1e-3, "mJ"]],
    W: [[1e3, "kW"], [1, "W"], [1e-3, "mW"]],
    B: [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]],
  };
  const digits = (value) => String(Number(value.toPrecision(3)));
  const shown = (value, unit) => {
    if (value == null) return "–";
    if (unit === "fraction") return `${digits(value * 100)} %`;
    if (!scales[unit]) return `${digits(value)} ${unit}`.trim();
    if (value === 0) return `0 ${unit}`;
    const [scale, name] = scales[unit].find(([least]) => Math.abs(value) >= least * 0.9995) || scales[unit].at(-1);
    return `${digits(value / scale)} ${name}`;
  };
  const role = (name) => name.replace(/^role-/, "");

  // What lies behind and before the lines: the shaded warm-up and the ticks of publications.
  const shadeWarmup = (held) => (plot) => {
    const chart = held.chart;
    if (!chart.warmup) return;
    const { ctx, bbox } = plot;
    const end = Math.min(Math.max(plot.valToPos(chart.warmup, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    ctx.fillStyle = colour("shade");
    ctx.fillRect(bbox.left, bbox.top, end - bbox.left, bbox.height);
    if (end > bbox.left) {
      ctx.fillStyle = colour("soft");
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      ctx.textBaseline = "bottom";
      ctx.fillText("warm-up", bbox.left, bbox.top - 3 * devicePixelRatio);
    }
    ctx.restore();
  };
  // Times in which something was broken on purpose: tinted, between dashed lines, named above, beginning at the shade or within it.
  const shadeSpans = (held) => (plot) => {
    const { ctx, bbox } = plot;
    const right = bbox.left + bbox.width;
    let said = bbox.left;
    if (held.chart.warmup && plot.valToPos(held.chart.warmup, "x", true) > bbox.left) {
      ctx.save();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      said += ctx.measureText("warm-up ").width;
      ctx.restore();
    }
    for (const span of held.chart.spans || []) {
      const [from, to] = [span.from, span.to ?? Infinity].map((time) => Math.min(Math.max(time === Infinity ? right : plot.valToPos(time, "x", true), bbox.left), right));
      if (to <= bbox.left || from >= right) continue;
      ctx.save();
      ctx.fillStyle = faded(colour("bad"), 0.1);
      ctx.fillRect(from, bbox.top, Math.max(to - from, devicePixelRatio), bbox.height);
      ctx.strokeStyle = ctx.fillStyle = colour("bad");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      for (const x of span.to === null ? [from] : [from, to]) {
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
      }
      ctx.stroke();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textBaseline = "bottom";
      const at = Math.max(from, said);
      if (at === from || at < to) {
        ctx.fillText(span.label, at, bbox.top - 3 * devicePixelRatio);
        said = at + ctx.measureText(`${span.label} `).width;
      }
      ctx.restore();
    }
  };
  const drawMarks = (held) => (plot) => {
    const { ctx, bbox } = plot;
    (held.chart.marks || []).forEach((mark, row) => {
      ctx.save();
      ctx.strokeStyle = colour(role(mark.role));
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.setLineDash([]);
      const foot = bbox.top + bbox.height - row * 9 * devicePixelRatio;
      ctx.beginPath();
      for (const time of mark.at) {
        const x = plot.valToPos(time, "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.moveTo(x, foot);
        ctx.lineTo(x, foot - 7 * devicePixelRatio);
      }
      ctx.stroke();
      ctx.restore();
    });
  };

  // The columns of a chart's data, and one option set for it; a band is two further, unnamed series.
  const columnsOf = (chart) => [chart.x, ...chart.series.flatMap((line) => (line.low ? [line.y, line.high, line.low] : [line.y]))];
  const prepare = (chart, place) => {
    const held = { chart }; // what is drawn behind and before the lines may change while the plot stays
    const series = [{ label: chart.xunit === "s" && !chart.log ? "time" : "within", value: (_, v) => shown(v, chart.xunit) }];
    const bands = [];
    for (const line of chart.series) {
      const stroke = colour(role(line.role));
      series.push({
        label: line.label, stroke, width: line.width || 1.5, dash: line.dash, spanGaps: true,
        points: { show: (plot) => plot.data[0].length < 3 }, value: (_, v) => shown(v, chart.unit),
        paths: chart.log ? uPlot.paths.stepped({ align: 1 }) : undefined,
      });
      if (line.low) {
        const hidden = { stroke: "transparent", width: 0, points: { show: false }, label: "", class: "u-bound" };
        series.push(hidden, { ...hidden });
        bands.push({ series: [series.length - 2, series.length - 1], fill: faded(stroke, 0.18) });
      }
    }
    const decades = (_, splits) => splits.map((v) => (/^[125]/.test(v.toExponential()) && Number(v.toPrecision(1)) === v ? v : null));
    const first = chart.x[0], last = chart.x.at(-1);
    const axis = { stroke: colour("soft"), grid: { stroke: colour("rule"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const options = {
      width: Math.max(240, place.clientWidth), height: place.classList.contains("tall") ? 300 : 220, series, bands,
      padding: [18, 26, 0, 0],
      scales: {
        x: chart.log ? { time: false, distr: 3, range: (_, low, high) => (low === first && high === last ? [low * 0.85, high * 1.15] : [low, high]) } : { time: false },
        y: { range: (_, low, high) => held.chart.range || [chart.zero ? 0 : low, (high > 0 ? high : 1) * 1.08] },
      },
      axes: [
        { ...axis, size: 30, values: (_, splits) => splits.map((v) => (v == null ? "" : shown(v, chart.xunit))), space: 50,
          ...(chart.log ? { filter: decades } : {}) },
        { ...axis, size: 66, values: (_, splits) => splits.map((v) => (chart.unit === "fraction" && (v < 0 || v > 1) ? "" : shown(v, chart.unit === "cores" ? "" : chart.unit))) },
      ],
      cursor: { y: false, drag: { x: true, y: false }, ...(chart.log ? {} : { sync: { key: "time" } }) },
      hooks: { drawClear: [shadeWarmup(held), shadeSpans(held)], draw: [drawMarks(held)] },
    };
    return [options, held];
  };

  const sample = (line) => {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const stroke = document.createElementNS(space, "line");
    svg.setAttribute("class", "line-key");
    svg.setAttribute("viewBox", "0 0 26 8");
    svg.setAttribute("aria-hidden", "true");
    const wanted = { x1: 0, x2: 26, y1: 4, y2: 4, stroke: line.stroke(), "stroke-width": 2.2, "stroke-dasharray": (line.dash || []).join(" ") };
    for (const [name, value] of Object.entries(wanted)) stroke.setAttribute(name, value);
    svg.append(stroke);
    return svg;
  };

  // The legend's names work from the keyboard as they do with a mouse; those of band limits and marks are put right.
  const finishLegend = (plot, chart) => {
    const legend = plot.root.querySelector(".u-legend");
    legend.querySelectorAll(".u-bound").forEach((row) => row.remove());
    legend.querySelectorAll(".u-series").forEach((row, i) => {
      if (i === 0) return;
      const name = row.querySelector("th");
      row.querySelector(".u-marker").replaceWith(sample(plot.series.filter((s) => s.class !== "u-bound")[i]));
      name.tabIndex = 0;
      name.setAttribute("role", "button");
      name.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        name.click();
      });
    });
    keyMarks(legend, chart);
  };
  const keyMarks = (legend, chart) => {
    legend.querySelectorAll(".mark-key").forEach((row) => row.remove());
    for (const mark of chart.marks || []) {
      const row = legend.insertRow();
      const name = document.createElement("th");
      const tick = document.createElement("span");
      row.className = "mark-key";
      tick.className = "tick-key";
      tick.style.background = colour(role(mark.role));
      name.append(tick, ` ${mark.label} (${mark.at.length})`);
      row.append(name);
    }
  };

  // Arrow keys walk along the points of a chart that has the focus.
  const walk = (plot) => (event) => {
    if (event.target !== event.currentTarget) return;
    const last = plot.data[0].length - 1;
    const here = plot.cursor.idx ?? -1;
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const x = plot.valToPos(plot.data[0][Math.min(last, Math.max(0, to))], "x");
    plot.setCursor({ left: x, top: plot.over.clientHeight / 2 });
  };

  // A chart in its place; `update` gives it new data of the same lines, `remove` takes it away.
  const make = (chart, place, hooks = {}) => {
    const [options, held] = prepare(chart, place);
    Object.assign(options.hooks, hooks);
    const plot = new uPlot(options, columnsOf(chart), place);
    const listener = walk(plot);
    finishLegend(plot, chart);
    place.addEventListener("keydown", listener);
    return {
      plot,
      update(next) {
        held.chart = next;
        plot.setData(columnsOf(next));
        keyMarks(plot.root.querySelector(".u-legend"), next);
      },
      remove() { place.removeEventListener("keydown", listener); plot.destroy(); },
    };
  };

  return { make, shown, colour, role };
})();

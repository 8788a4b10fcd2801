// One study: how far it has come, its table, what was made of it.
(() => {
  "use strict";
  const { make, byId, fill, ask, order, repeat, quantity, duration, state } = estranPage;
  const UNITS = { accuracy: "fraction", latency_p50: "s", latency_p99: "s", throughput: "/s", staleness: "s", energy: "J", exchange_latency_p50: "s" };
  const key = document.body.dataset.key;
  let factors = [], measured = [], keys = [], made = "";

  const columns = () => [
    { name: "run", numeric: true, value: (row) => row.run, cell: (row) => (row.key ? make("a", { href: `/run/${row.key}` }, String(row.run)) : String(row.run)) },
    { name: "block", numeric: true, value: (row) => row.block },
    { name: "seed", numeric: true, value: (row) => row.seed },
    ...factors.map((name) => ({ name, value: (row) => row.levels[name] })),
    { name: "status", value: (row) => row.status, cell: (row) => make("span", { title: row.failure }, state(row.status)) },
    ...measured.map((name) => ({ name: name.replaceAll("_", " "), numeric: true, value: (row) => row.responses[name], cell: (row) => quantity(row.responses[name], UNITS[name]) })),
  ];
  const table = estranTables.large(byId("row-table"), columns, {
    keyOf: (row) => row.key, open: (row) => row.key && `/run/${row.key}`, sort: "run", caption: "Runs of the study",
    chosen: (chosen) => {
      keys = chosen;
      byId("compare").disabled = keys.length < 2 || keys.length > 8;
      byId("compare").textContent = keys.length ? `Compare ${keys.length}` : "Compare";
    },
    told: (found, all) => { byId("count").textContent = found === all ? `${all} runs` : `${found} of ${all} runs`; },
  });
  byId("compare").addEventListener("click", () => { location.href = `/compare?kind=run&${keys.map((one) => `of=${one}`).join("&")}`; });
  const narrow = () => {
    const status = byId("status").value;
    table.narrow(byId("find").value, (row) => !status || row.status === status);
  };
  for (const identity of ["find", "status"]) byId(identity).addEventListener("input", narrow);
  document.querySelectorAll("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));

  // Progress as a bar of parts, and in words.
  const progress = (found) => {
    const kinds = ["done", "failed", "interrupted", "running", "to do"].filter((kind) => found.counts[kind]);
    const bar = make("div", { class: "parts", role: "img", "aria-label": kinds.map((kind) => `${found.counts[kind]} ${kind}`).join(", ") });
    for (const kind of kinds) {
      const part = make("span", { class: `part ${kind.replace(" ", "-")}` });
      part.style.flexGrow = found.counts[kind];
      bar.append(part);
    }
    const words = kinds.flatMap((kind) => [state(kind), ` ${found.counts[kind]}   `]);
    fill("progress", bar, make("p", {}, ...words, `of ${found.runs} runs`));
    byId("left").textContent = found.left === null ? "" : `About ${duration(found.left)} left, if the others take as long as those that are done.`;
  };

  const said = make("span", { class: "muted", role: "status" });
  const explain = make("button", { type: "button", onclick: async () => {
    explain.disabled = true;
    said.textContent = "explaining …";
    try {
      await order(`/api/study/${key}/explain`);
      said.textContent = "";
    } catch (error) {
      said.textContent = [error.message, error.remedy].filter(Boolean).join(" → ");
    }
    explain.disabled = false;
  } }, "Explain it");
  const NAMES = { "explain.html": "What drives its responses", "optimize.html": "Which deployments are best", "report.html": "Report" };
  const pages = (found) => fill("pages", ...found.pages.map((name, i) => make("a", { href: `/study/${key}/pages/${i}`, class: "button" }, NAMES[name] || name)), explain, said);

  estranKeys.add("j", "next run", () => table.move(1));
  estranKeys.add("k", "run before", () => table.move(-1));
  estranKeys.add("Enter", "open the run that has the focus; the space bar chooses it", () => document.activeElement.click());
  estranKeys.add("c", "compare those that are chosen", () => byId("compare").click());

  let known = "";
  repeat(2, async () => {
    const found = await ask(`/api/study/${key}?known=${encodeURIComponent(known)}`);
    if (found.state === known) return; // nothing has changed
    known = found.state;
    factors = Object.keys(found.factors);
    measured = Object.keys(UNITS).filter((name) => found.rows.some((row) => row.responses[name] !== undefined));
    document.title = `${found.name} · Estran`;
    byId("study-name").textContent = found.experiment;
    byId("study-facts").textContent = [found.name, `design ${found.design}`, `platform ${found.platform}`, `first seed ${found.seed}`, `${found.replicates} replicate${found.replicates === 1 ? "" : "s"}`].join(" · ");
    progress(found);
    if (made !== found.pages.join()) {
      made = found.pages.join();
      pages(found);
    } else if (!explain.isConnected) pages(found);
    estranTables.choices(byId("status"), found.rows.map((row) => row.status));
    table.show(found.rows, (row) => [row.seed, row.status, ...Object.entries(row.levels).map(([name, level]) => `${name}=${level}`)].join(" "));
    document.body.dataset.ready = "yes";
  });
})();

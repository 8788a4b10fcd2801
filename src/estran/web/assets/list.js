// Runs and studies: found, sorted, narrowed, chosen to be compared.
(() => {
  "use strict";
  const { make, byId, ask, repeat, quantity, duration, moment, state } = estranPage;
  const SHOWN = [["accuracy", "fraction"], ["latency_p50", "s"], ["latency_p99", "s"], ["throughput", "/s"], ["staleness", "s"], ["energy", "J"], ["exchange_latency_p50", "s"]];
  let measured = [], factors = [];

  const response = ([name, unit]) => ({ name: name.replaceAll("_", " "), numeric: true, value: (run) => run.responses[name], cell: (run) => quantity(run.responses[name], unit) });
  const columns = () => [
    { name: "run", value: (run) => run.name, cell: (run) => make("a", { href: `/run/${run.key}`, class: "tight" }, run.name) },
    { name: "experiment", value: (run) => run.experiment },
    { name: "status", value: (run) => run.status, cell: (run) => make("span", { title: run.failure }, state(run.status)) },
    { name: "platform", value: (run) => run.platform },
    { name: "started", value: (run) => run.started, cell: (run) => make("span", { class: "tight" }, moment(run.started)) },
    { name: "measured", numeric: true, value: (run) => run.duration, cell: (run) => duration(run.duration) },
    { name: "seed", numeric: true, value: (run) => run.seed },
    ...factors.map((name) => ({ name, value: (run) => run.factors[name] })),
    ...measured.map(response),
  ];
  const study = [
    { name: "study", value: (one) => one.name, cell: (one) => make("a", { href: `/study/${one.key}` }, one.name) },
    { name: "experiment", value: (one) => one.experiment },
    { name: "platform", value: (one) => one.platform },
    { name: "design", value: (one) => one.design },
    { name: "started", value: (one) => one.started, cell: (one) => make("span", { class: "tight" }, moment(one.started)) },
    { name: "runs", numeric: true, value: (one) => one.runs },
    { name: "done", numeric: true, value: (one) => one.done },
    { name: "failed", numeric: true, value: (one) => one.failed },
    { name: "running", numeric: true, value: (one) => one.running },
  ];

  const chooser = (button, kind, word) => {
    let keys = [];
    button.addEventListener("click", () => { location.href = `/compare?kind=${kind}&${keys.map((key) => `of=${key}`).join("&")}`; });
    return (chosen) => {
      keys = chosen;
      button.disabled = keys.length < 2 || keys.length > 8;
      button.textContent = keys.length ? `${word} ${keys.length}` : word;
    };
  };
  const keyOf = (row) => row.key;
  const count = (found, all) => { byId("count").textContent = found === all ? `${all} runs` : `${found} of ${all} runs`; };
  const runs = estranTables.large(byId("run-table"), columns, { keyOf, chosen: chooser(byId("compare"), "run", "Compare"), sort: "started", down: true, caption: "Runs", told: count, open: (run) => `/run/${run.key}` });
  const studies = estranTables.large(byId("study-table"), () => study, { keyOf, chosen: chooser(byId("compare-studies"), "study", "Compare studies"), sort: "started", down: true, caption: "Studies", open: (one) => `/study/${one.key}` });

  const narrow = () => {
    const [status, experiment, single] = [byId("status").value, byId("experiment").value, byId("single").checked];
    runs.narrow(byId("find").value, (run) => (!status || run.status === status) && (!experiment || run.experiment === experiment) && !(single && run.study));
  };
  for (const identity of ["find", "status", "experiment", "single"]) byId(identity).addEventListener("input", narrow);
  document.querySelectorAll("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));

  estranKeys.add("j", "next run", () => runs.move(1));
  estranKeys.add("k", "run before", () => runs.move(-1));
  estranKeys.add("Enter", "open the run that has the focus; the space bar chooses it", () => document.activeElement.click());
  estranKeys.add("c", "compare those that are chosen", () => byId("compare").click());

  let known = "";
  repeat(2, async () => {
    const found = await ask(`/api/list?known=${known}`);
    if (found.state === known) return; // nothing has changed
    known = found.state;
    measured = SHOWN.filter(([name]) => found.runs.some((run) => run.responses[name] !== undefined));
    factors = [...new Set(found.runs.flatMap((run) => Object.keys(run.factors)))].slice(0, 6);
    estranTables.choices(byId("status"), found.runs.map((run) => run.status));
    estranTables.choices(byId("experiment"), found.runs.map((run) => run.experiment));
    runs.show(found.runs, (run) => [run.name, run.experiment, run.status, run.platform, run.failure, ...Object.entries(run.factors).map(([name, level]) => `${name}=${level}`)].join(" "));
    byId("studies").hidden = found.studies.length === 0;
    studies.show(found.studies, (one) => `${one.name} ${one.experiment}`);
    document.body.dataset.ready = "yes";
  });
})();

// Break something in a run that goes on, by hand.
globalThis.estranFault = (() => {
  "use strict";
  const { make, byId, fill, ask } = estranPage;
  const key = document.body.dataset.key;
  const LINKS = ["cut", "degrade", "flap", "partition"], SERVICES = ["kill", "hang"], DATA = ["burst", "drift"];
  const WORDS = { cut: "cut a link", degrade: "make a link worse", flap: "let a link come and go", partition: "part hosts from others", crash: "crash a host", reboot: "reboot a host", slow: "slow a host down",
    "clock-skew": "set a host's clock wrong", "disk-full": "fill a host's disk", "memory-pressure": "take a host's memory", kill: "kill a service", hang: "hang a service", corrupt: "corrupt messages", burst: "send more", drift: "let the data drift" };
  const SETTINGS = { degrade: { delay: "200ms", jitter: "", rate: "", loss: "" }, flap: { period: "1s", share: "0.5" }, slow: { speed: "0.5" }, "clock-skew": { offset: "50ms" },
    "memory-pressure": { memory: "256MiB" }, corrupt: { share: "10%" }, burst: { factor: "3" }, drift: { amount: "0.5" } };
  let known = { layers: [], hosts: [], links: [], services: [], replicas: [], outputs: [], sources: [] }, open = false;

  const option = (name) => make("option", { value: name }, name);
  const targets = (kind) => {
    if (LINKS.includes(kind)) return [...known.layers, ...known.hosts];
    if (SERVICES.includes(kind)) return [...known.services, ...known.replicas];
    if (kind === "corrupt") return known.outputs;
    if (DATA.includes(kind)) return known.sources;
    return [...known.layers, ...known.hosts];
  };
  const dress = () => {
    const kind = byId("fault-kind").value, link = LINKS.includes(kind);
    byId("fault-on-label").textContent = link ? "between" : "of";
    fill("fault-on", ...targets(kind).map(option));
    byId("fault-beyond-field").hidden = !link;
    if (link) beyond();
    fill("fault-settings", ...Object.entries(SETTINGS[kind] || {}).map(([name, value]) => make("label", {}, `${name} `, make("input", { name, value, size: 7, autocomplete: "off" }))));
  };
  // The other end of a link: what has one to this end comes first.
  const beyond = () => {
    const here = byId("fault-on").value;
    const near = known.links.filter((link) => link.includes(here)).map((link) => link.find((end) => end !== here) || here);
    fill("fault-beyond", ...[...new Set([...near, ...targets("cut")])].filter((name) => name !== here).map(option));
  };
  const asked = () => {
    const kind = byId("fault-kind").value, on = byId("fault-on").value, other = byId("fault-beyond").value;
    const fault = { [kind]: kind === "partition" ? [[on], [other]] : LINKS.includes(kind) ? [on, other] : [on] };
    for (const field of byId("fault-settings").querySelectorAll("input")) if (field.value.trim()) fault[field.name] = plain(field.value.trim());
    if (byId("fault-for").value.trim()) fault.for = byId("fault-for").value.trim();
    return fault;
  };
  const plain = (text) => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text);

  const start = async () => {
    const go = byId("fault-go");
    go.disabled = true;
    byId("fault-said").textContent = "";
    try {
      await ask(`/api/run/${key}/faults`, { method: "POST", body: JSON.stringify(asked()), headers: { "X-Estran-CSRF": document.querySelector("meta[name=estran-csrf]").content } });
      byId("fault").close();
    } catch (error) {
      byId("fault-said").textContent = [error.message, error.remedy].filter(Boolean).join(" → ");
    }
    go.disabled = false;
  };

  const show = async () => {
    if (!open) return;
    try {
      const { kinds } = await ask(`/api/run/${key}/faults`);
      const kept = byId("fault-kind").value;
      fill("fault-kind", ...Object.entries(kinds).map(([kind, why]) => make("option", { value: kind, disabled: why !== null, title: why }, `${kind}: ${WORDS[kind] || ""}${why ? " (not here)" : ""}`)));
      byId("fault-kind").value = kinds[kept] === null ? kept : Object.keys(kinds).find((kind) => kinds[kind] === null);
      dress();
      byId("fault-said").textContent = "";
      byId("fault").showModal();
    } catch (error) {
      estranPage.complain(error);
    }
  };
  byId("break").addEventListener("click", show);
  byId("fault-kind").addEventListener("input", dress);
  byId("fault-on").addEventListener("input", () => { if (LINKS.includes(byId("fault-kind").value)) beyond(); });
  byId("fault-close").addEventListener("click", () => byId("fault").close());
  byId("fault-form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  estranKeys.add("b", "break something, in a run that measures", show);

  // It can be done while a run measures in real time.
  const offer = (now, edges) => {
    open = !now.run.over && now.run.platform !== "simulate" && now.run.phases.some((phase) => phase.name === "measure" && phase.status === "running");
    byId("break").hidden = !open;
    if (!open && byId("fault").open) byId("fault").close();
    const layerOf = new Map(now.hosts.map((host) => [host.name, host.layer]));
    const one = (names) => [...new Set(names)];
    const ends = now.links.map((link) => [link.source, link.target].map((end) => layerOf.get(end.split("…")[0]) || end));
    const streams = one(edges.map((edge) => edge.stream));
    known = { layers: one(layerOf.values()), hosts: [...layerOf.keys()], links: ends, services: one(now.replicas.map((each) => each.service)), replicas: now.replicas.map((each) => each.name),
      outputs: streams, sources: one(streams.map((stream) => stream.split(".")[0])) };
  };
  return { offer };
})();

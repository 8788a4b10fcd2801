// What goes on in the deployment, said in the drawing that came with the page: at boxes, services, and arrows between them.
globalThis.estranTopology = (() => {
  "use strict";
  const { byId, quantity } = estranPage;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const place = byId("drawing"), picture = place.querySelector("svg");
  const nodes = new Map([...place.querySelectorAll("[data-id]")].map((node) => [node.dataset.id, node]));
  const labels = new Map([...place.querySelectorAll("[data-of]")].map((label) => [label.dataset.of, label]));
  const more = new Map(), versions = new Map();
  const MOST = 30; // letters on a box
  let chosen = null;

  const write = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
  const cut = (text) => (text.length <= MOST ? text : `${text.slice(0, MOST - 1)}…`);
  const dress = (element, classes) => Object.entries(classes).forEach(([name, on]) => element.classList.toggle(name, Boolean(on)));
  const say = (node, broken, said) => {
    write(node.querySelector(".name"), `${broken ? "✗ " : ""}${cut(node.dataset.label)}`);
    write(node.querySelector(".said"), cut(said));
  };

  const shape = (name, attributes = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(...children);
    return element;
  };
  // Exchanges of commands: nobody planned them, so their arrows are drawn when they are seen.
  const add = (id) => {
    nodes.set(id, shape("g", { class: "arrow", "data-id": id }, shape("path"), shape("path", { class: "head" }), shape("path", { class: "near" })));
    labels.set(id, shape("g", { class: "label", "data-of": id }, shape("text", { class: "name" }), shape("text", { class: "said" })));
    picture.querySelector(".lines").append(nodes.get(id));
    picture.querySelector(".labels").append(labels.get(id));
  };
  const exchange = ({ id, port, rate, bytes, spent, route, bottom }) => {
    if (!nodes.has(id)) add(id);
    const [name, said] = labels.get(id).children;
    [route.line, route.head, route.line].forEach((path, i) => nodes.get(id).children[i].setAttribute("d", path));
    for (const [text, y] of [[name, route.y - 7], [said, route.y + 16]])
      for (const [key, value] of Object.entries({ x: route.x, y, "text-anchor": route.anchor })) text.setAttribute(key, value);
    const box = picture.viewBox.baseVal, most = bottom + 18 - box.y;
    if (most > box.height) {
      picture.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${most}`);
      picture.setAttribute("height", most);
    }
    write(name, `port ${port}`);
    write(said, rate ? `${quantity(rate, "/s")} · ${quantity(spent / rate, "s")}` : "");
    flows(id, rate);
    more.set(id, `exchanges on port ${port}: ${quantity(rate, "/s")}, ${quantity(bytes, "B/s")}, ${quantity(rate ? spent / rate : null, "s")} from request to answer`);
  };
  const flows = (id, rate) => {
    nodes.get(id).firstChild.setAttribute("stroke-width", rate ? (2 + Math.min(4, Math.log10(1 + rate))).toFixed(1) : 2);
    dress(nodes.get(id), { still: !rate });
  };

  const stream = ({ id, stream: name, from, to, told, channels }, flow) => {
    const { label, asked, probed } = flow, arrow = nodes.get(id), words = labels.get(id);
    flows(id, flow.rate);
    dress(arrow, { bad: flow.ok === false || flow.broken });
    if (words && label) {
      const version = label.version === null ? "" : ` · v${label.version}`;
      write(words.querySelector(".name"), `${flow.broken ? "✗ " : ""}${name}${told > channels ? ` ×${told}` : ""}${version}`);
      const figures = label.rate ? `${quantity(label.rate, "/s")} · ${quantity(label.transfer, "s")}` : "";
      write(words.querySelector(".said"), flow.broken ? "broken on purpose" : figures);
    }
    const link = asked.delay ? `link asked ${asked.delay}, ${asked.rate}; measured ${probed.delay || "–"}, ${probed.rate || "–"}` : "no link is shaped";
    more.set(id, `${name}, ${from} → ${to}: ${flow.broken ? "broken on purpose, " : ""}${quantity(flow.rate, "messages/s")}, ${quantity(flow.bytes, "B/s")}, under way ${quantity(flow.transfer, "s")}, in the queue ${quantity(flow.wait, "s")}; ${link}`);
    const before = versions.get(id);
    versions.set(id, flow.version);
    if (before !== undefined && before !== null && flow.version > before && !calm.matches) {
      arrow.classList.add("fresh");
      setTimeout(() => arrow.classList.remove("fresh"), 700);
    }
  };

  const share = (value) => (value === null ? null : `cpu ${Math.round(value * 100)} %`);
  const box = (id, { cpu, memory, power, broken }) => {
    const node = nodes.get(id), { label, about } = node.dataset;
    const said = [share(cpu), memory === null ? null : quantity(memory, "B"), power === null ? null : quantity(power, "W")].filter(Boolean).join(" · ");
    say(node, broken, said || about);
    dress(node, { warn: cpu > 0.95, bad: broken });
    more.set(id, `${label}, ${about}: ${said}`);
  };
  const chip = (id, { states, versions: range, restarts, broken }) => {
    const node = nodes.get(id), { label, about } = node.dataset, all = Object.entries(states);
    const words = all.length === 1 ? all[0][0] : all.map(([state, count]) => `${count} ${state}`).join(", ");
    const version = !range ? "" : range[0] === range[1] ? ` · v${range[0]}` : ` · v${range[0]}–${range[1]}`;
    say(node, broken, `${words}${version}${restarts ? ` · ↻${restarts}` : ""}`);
    dress(node, { warn: restarts, bad: broken });
    more.set(id, `${label} (${about}): ${words}${version}${restarts ? `, restarted ${restarts} times` : ""}`);
  };

  const update = (now, edges) => {
    if (!picture) return;
    for (const edge of edges) stream(edge, now.edges[edge.id]);
    for (const one of now.arrows) exchange(one);
    for (const [id, figures] of Object.entries(now.boxes)) box(id, figures);
    for (const [id, figures] of Object.entries(now.chips)) chip(id, figures);
    tell();
  };

  // What is chosen is told below, as it is now.
  const tell = () => write(byId("chosen"), (chosen && more.get(chosen)) || "");
  const choose = (id) => {
    for (const [known, on] of [[chosen, false], [id, true]]) if (known) [nodes.get(known), labels.get(known)].forEach((one) => one?.classList.toggle("chosen", on));
    chosen = id;
    tell();
  };
  place.addEventListener("click", (event) => {
    const found = event.target.closest("[data-id], [data-of]");
    choose(found ? found.dataset.id || found.dataset.of : null);
  });
  byId("fit").addEventListener("click", () => byId("fit").setAttribute("aria-pressed", place.classList.toggle("fit")));
  return { update };
})();

// Lines of logs: the last ones, followed as they come, narrowed to a service or to a word.
(() => {
  "use strict";
  const { make, byId, ask } = estranPage;
  const key = document.body.dataset.key;
  const KEPT = 2000;
  const lines = byId("log-lines");
  let next = 0, source = "", turn = 0, waiting = 0, latest = null;

  const line = ([time, owner, channel, text]) => make("span", { class: `log ${channel}` },
    make("span", { class: "muted" }, `${time.toFixed(3).padStart(9)} `), make("span", { class: "owner" }, `${owner} `), text, "\n");

  const read = async () => {
    const own = turn;
    const asked = new URLSearchParams({ after: next, name: byId("log-of").value, text: byId("log-find").value, ...(latest === null ? {} : { until: latest }) });
    const found = await ask(`/api/run/${key}/logs?${asked}`);
    if (own !== turn) return; // asked differently meanwhile
    if (found.source !== source && source) { // the run is over: what was a table is files now
      source = found.source;
      return restart();
    }
    source = found.source;
    if (next === 0) lines.replaceChildren();
    next = found.next;
    const follow = byId("log-follow").checked;
    lines.append(...found.lines.map(line));
    while (lines.childElementCount > KEPT) lines.firstElementChild.remove();
    if (follow && found.lines.length) lines.scrollTop = lines.scrollHeight;
    byId("log-count").textContent = lines.childElementCount ? `${lines.childElementCount} lines` : "no lines";
  };
  const restart = () => {
    next = 0;
    turn += 1;
    return read().catch(() => {});
  };
  for (const identity of ["log-of", "log-find"]) byId(identity).addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(restart, 150);
  });
  byId("log-follow").addEventListener("input", () => { if (byId("log-follow").checked) lines.scrollTop = lines.scrollHeight; });
  document.querySelector("#logs form").addEventListener("submit", (event) => event.preventDefault());

  // Whose logs there may be; what was chosen stays chosen.
  const names = (all) => {
    const list = byId("log-of");
    if (all.length + 1 === list.options.length) return;
    const kept = list.value;
    list.replaceChildren(list.options[0], ...all.map((name) => make("option", { value: name }, name)));
    list.value = kept;
  };

  // Of a run that is replayed, lines until a moment; a new one is asked for when the last has come.
  let asked = null, busy = false;
  const until = async (moment) => {
    asked = moment;
    if (busy) return;
    busy = true;
    do {
      latest = asked;
      await restart();
    } while (latest !== asked);
    busy = false;
  };

  globalThis.estranLogs = { until, names, read: () => read().catch(() => {}) };
})();

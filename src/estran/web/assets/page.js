// What all pages of the server share: elements made of text, questions to the server, numbers in words.
globalThis.estranPage = (() => {
  "use strict";

  // An element; children are elements or text, which is never read as markup.
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (key === "onclick") element.addEventListener("click", value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const byId = (identity) => document.getElementById(identity);
  const fill = (identity, ...children) => byId(identity).replaceChildren(...children);

  class Refused extends Error {}

  // The answer to a question, as data; what goes wrong is an error with the server's words.
  const ask = async (path, options = {}) => {
    const response = await fetch(path, { credentials: "same-origin", ...options });
    if (response.ok) return response.json();
    const said = await response.text();
    let problem;
    try {
      problem = JSON.parse(said);
    } catch {
      problem = { what: said };
    }
    throw Object.assign(new Refused([problem.where, problem.what].filter(Boolean).join(": ")), { status: response.status, remedy: problem.remedy });
  };
  const order = (path) =>
    ask(path, { method: "POST", headers: { "X-Estran-CSRF": document.querySelector("meta[name=estran-csrf]").content } });

  const complain = (error) => {
    byId("link").textContent = [error.message, error.remedy].filter(Boolean).join(" → ");
  };

  // A question asked again and again, while the page is seen.
  const repeat = (seconds, question) => {
    const again = async () => {
      try {
        if (!document.hidden) await question();
        byId("link").textContent = "";
      } catch (error) {
        complain(error instanceof TypeError ? new Error("the server has ended") : error);
      }
      setTimeout(again, seconds * 1000);
    };
    again();
  };

  const quantity = (value, unit = "") => (value === null || value === undefined ? "–" : estranPlot.shown(value, unit));
  const duration = (seconds) => {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 100) return `${Number(seconds.toPrecision(3))} s`;
    const minutes = Math.floor(seconds / 60);
    return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  };
  const moment = (stamp) => (stamp ? stamp.slice(0, 19).replace("T", " ") : "–");

  // States are told by a shape and a word, and by a colour besides.
  const MARKS = { done: "✓", failed: "✗", running: "▶", interrupted: "■", killed: "✗", damaged: "✗", restarting: "↻", ended: "■", starting: "…", planned: "…", "to do": "…" };
  const GOOD = ["done"], BAD = ["failed", "killed", "damaged"], WARN = ["interrupted", "restarting"];
  const state = (name) => {
    const kind = GOOD.includes(name) ? "good" : BAD.includes(name) ? "bad" : WARN.includes(name) ? "warn" : name === "running" ? "going" : "unknown";
    return make("span", { class: `badge ${kind}` }, make("span", { "aria-hidden": "true" }, `${MARKS[name] || "·"} `), name);
  };

  return { make, byId, fill, ask, order, complain, repeat, quantity, duration, moment, state };
})();

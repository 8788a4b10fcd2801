// Keys that do what buttons do, and a list of them.
globalThis.estranKeys = (() => {
  "use strict";
  const { make } = estranPage;
  const known = new Map();
  const add = (key, words, act) => known.set(key, { words, act });

  const list = make("dl", { class: "keys" });
  const dialog = make("dialog", { "aria-labelledby": "keys-title" }, make("h2", { id: "keys-title" }, "Keys"), list,
    make("form", { method: "dialog" }, make("button", {}, "Close")));
  document.body.append(dialog);
  const show = () => {
    if (dialog.open) return dialog.close();
    list.replaceChildren(...[...known].map(([key, { words }]) => make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, words))));
    dialog.showModal();
  };

  const writes = (element) => element.closest?.("input:not([type=checkbox]):not([type=range]), select, textarea, [contenteditable]");
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || writes(event.target)) return;
    if (document.querySelector("dialog[open]") && !(dialog.open && event.key === "?")) return;
    const found = known.get(event.key);
    if (!found) return;
    event.preventDefault();
    found.act();
  });

  add("?", "this list", show);
  add("h", "runs and studies", () => { location.href = "/"; });
  add("t", "light or dark", () => document.getElementById("theme").click());
  const finder = document.querySelector("input[type=search]");
  if (finder) add("/", "find", () => finder.focus());
  document.querySelectorAll("nav .anchors a").forEach((link, i) => {
    if (i < 9) add(String(i + 1), link.textContent, () => {
      if (document.querySelector(link.hash)?.hidden === false) document.querySelector(link.hash).scrollIntoView();
    });
  });
  document.getElementById("keys").addEventListener("click", show);
  return { add };
})();

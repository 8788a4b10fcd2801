// Tables of any length: sorted by a click on a heading, narrowed by words, rows chosen to be compared; drawn as far as one looks.
globalThis.estranTables = (() => {
  "use strict";
  const { make } = estranPage;
  const PORTION = 50;

  const cellOf = (column, row) => {
    const shown = column.cell ? column.cell(row) : column.value(row);
    return make("td", { class: column.numeric ? "n" : null }, shown === null || shown === undefined ? "–" : shown);
  };

  const onRight = (numeric, i) => (numeric.includes(i) ? "n" : null);
  const plainRows = (rows, numeric) => rows.map((row) => make("tr", {}, ...row.map((cell, i) => make("td", { class: onRight(numeric, i) }, cell === null || cell === undefined ? "–" : cell))));

  // A table drawn whole: for what is short.
  const small = (heads, rows, { numeric = [], caption } = {}) =>
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || heads.join(", ") },
      make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head, i) => make("th", { scope: "col", class: onRight(numeric, i) }, head)))),
        make("tbody", {}, ...plainRows(rows, numeric))));

  // The same in its place, again and again: only its rows change, so that focus and scrolling stay.
  const keep = (place, heads, rows, { numeric = [], caption, nothing } = {}) => {
    const shape = rows.length ? heads.join("|") : "";
    if (place.dataset.shape !== shape || !place.firstChild) {
      place.dataset.shape = shape;
      place.replaceChildren(rows.length ? small(heads, [], { numeric, caption }) : make("p", { class: "absent" }, nothing || "Nothing yet."));
    }
    if (rows.length) place.querySelector("tbody").replaceChildren(...plainRows(rows, numeric));
  };

  // A table that lives. `columns`: name, value(row) to sort by, cell(row) to show, numeric. `chosen` is told of the keys of chosen rows.
  const large = (place, columns, { chosen, keyOf, sort, down = false, caption, told = () => {} }) => {
    let rows = [], words = [], keep = () => true, by = sort, falling = down, drawn = 0, found = [];
    const picked = new Set();
    const head = make("tr"), body = make("tbody");
    const more = make("button", { type: "button", onclick: () => extend() });
    place.replaceChildren(
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, make("table", {}, make("thead", {}, head), body)), make("p", {}, more));

    const compare = (a, b) => {
      if (a === null || a === undefined || a === "") return b === null || b === undefined || b === "" ? 0 : 1; // what is not known comes last
      if (b === null || b === undefined || b === "") return -1;
      const less = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
      return falling ? -less : less;
    };
    const heads = () => {
      const cells = columns().map((column) => make("th", { scope: "col", class: column.numeric ? "n" : null,
        "aria-sort": column.name === by ? (falling ? "descending" : "ascending") : "none" },
        make("button", { type: "button", class: "sorter", onclick: () => order(column) }, column.name, make("span", { "aria-hidden": "true" }, column.name === by ? (falling ? " ▼" : " ▲") : ""))));
      head.replaceChildren(...(chosen ? [make("th", { scope: "col" }, make("span", { class: "unseen" }, "chosen"))] : []), ...cells);
    };
    const order = (column) => {
      falling = column.name === by ? !falling : Boolean(column.numeric);
      by = column.name;
      draw();
      [...head.querySelectorAll("button")].find((button) => button.firstChild.textContent === by)?.focus();
    };
    const line = (row) => {
      const key = keyOf(row);
      const tick = chosen && make("td", {}, make("input", { type: "checkbox", "aria-label": `choose ${row.name || row.run}`, disabled: key === null, checked: picked.has(key) }));
      if (tick) tick.firstChild.addEventListener("change", (event) => {
        if (event.target.checked) picked.add(key);
        else picked.delete(key);
        chosen([...picked]);
      });
      return make("tr", {}, tick, ...columns().map((column) => cellOf(column, row)));
    };
    const extend = () => {
      body.append(...found.slice(drawn, drawn + PORTION).map(line));
      drawn = Math.min(found.length, drawn + PORTION);
      more.hidden = drawn >= found.length;
      more.textContent = `Show ${Math.min(PORTION, found.length - drawn)} more of ${found.length}`;
    };
    const draw = () => {
      const column = columns().find(({ name }) => name === by) || columns()[0];
      found = rows.filter((row) => keep(row) && words.every((word) => row.text.includes(word)));
      found = found.map((row, i) => [column.value(row), i, row]).sort((a, b) => compare(a[0], b[0]) || a[1] - b[1]).map(([, , row]) => row);
      const upto = Math.max(drawn, PORTION); // what was drawn stays in sight when the table is drawn anew
      heads();
      body.replaceChildren();
      drawn = 0;
      do extend(); while (drawn < Math.min(upto, found.length));
      told(found.length, rows.length);
    };
    return {
      show(next, text) { rows = next.map((row) => ({ ...row, text: text(row).toLowerCase() })); draw(); },
      narrow(typed, rule) { words = typed.toLowerCase().split(/\s+/).filter(Boolean); keep = rule; drawn = 0; draw(); },
    };
  };

  // The choices of a list, with how many rows each has; what was chosen stays chosen.
  const choices = (list, values) => {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    const wanted = JSON.stringify([...counts]);
    if (list.dataset.known === wanted) return;
    const kept = list.value;
    list.replaceChildren(list.options[0], ...[...counts].sort().map(([value, count]) => make("option", { value }, `${value} (${count})`)));
    list.value = counts.has(kept) ? kept : "";
    list.dataset.known = wanted;
  };

  return { small, keep, large, choices };
})();

// Tables of any length: sorted by a click on a heading, narrowed by words, rows chosen to be compared; drawn as far as one looks.
globalThis.estranTables = (() => {
  "use strict";
  const { make } = estranPage;
  const collator = new Intl.Collator(undefined, { numeric: true });

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

  // A table that lives, of any length: only the rows that are in sight are drawn. `columns`: name, value(row) to sort by,
  // cell(row) to show, numeric. `chosen` is told of the keys of chosen rows, `open` leads from a row to its page.
  const large = (place, columns, { chosen, keyOf, sort, down = false, caption, open, told = () => {} }) => {
    let rows = [], words = [], keep = () => true, by = sort, falling = down, found = [], shown = [], tall = 34, first = -1, last = 0, here = 0;
    const picked = new Set();
    const head = make("tr"), above = make("tr", { "aria-hidden": "true" }), below = make("tr", { "aria-hidden": "true" }), body = make("tbody", { class: "rows" });
    const table = make("table", { class: "long" }, make("thead", {}, head), make("tbody", {}, above), body, make("tbody", {}, below));
    const frame = make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": `${caption}. J and K move from row to row.` }, table);
    place.replaceChildren(frame);

    const compare = (a, b) => {
      if (a === null || a === undefined || a === "") return b === null || b === undefined || b === "" ? 0 : 1; // what is not known comes last
      if (b === null || b === undefined || b === "") return -1;
      const less = typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
      return falling ? -less : less;
    };
    const heads = () => {
      const cells = shown.map((column) => make("th", { scope: "col", class: column.numeric ? "n" : null,
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
    const pick = (key, wanted) => {
      if (wanted) picked.add(key);
      else picked.delete(key);
      chosen([...picked]);
    };
    const line = (row, i) => {
      const key = keyOf(row);
      const tick = chosen && make("td", {}, make("input", { type: "checkbox", tabindex: "-1", "aria-label": `choose ${row.name || row.run}`, disabled: key === null, checked: picked.has(key) }));
      if (tick) tick.firstChild.addEventListener("change", (event) => pick(key, event.target.checked));
      return make("tr", { tabindex: "-1", "aria-rowindex": i + 2, "data-at": i }, tick, ...shown.map((column) => cellOf(column, row)));
    };

    // What is in sight, and some rows around it.
    const AROUND = 8;
    const sight = (anew) => {
      const room = Math.max(innerHeight * 0.7, 320);
      const start = Math.max(0, Math.min(Math.floor(frame.scrollTop / tall) - AROUND, found.length - 1));
      const end = Math.min(found.length, start + Math.ceil(room / tall) + 2 * AROUND);
      if (!anew && Math.abs(start - first) < AROUND / 2 && (start || !first)) return;
      const focused = body.contains(document.activeElement) ? here : -1;
      first = start;
      body.replaceChildren(...found.slice(start, end).map((row, i) => line(row, start + i)));
      last = end;
      space();
      if (focused >= start && focused < end) body.children[focused - start].focus({ preventScroll: true });
      if (anew && body.firstChild) requestAnimationFrame(measure);
    };
    const space = () => {
      above.style.height = `${first * tall}px`;
      below.style.height = `${(found.length - last) * tall}px`;
      above.parentNode.hidden = first === 0;
      below.parentNode.hidden = last === found.length;
    };
    // Rows are equally tall; columns never become narrower while one scrolls.
    const measure = () => {
      tall = body.firstElementChild?.getBoundingClientRect().height || tall;
      space();
      const widths = [...head.children].map((cell) => cell.offsetWidth);
      [...head.children].forEach((cell, i) => { cell.style.minWidth = `${widths[i]}px`; });
    };
    let due = 0;
    frame.addEventListener("scroll", () => {
      due ||= requestAnimationFrame(() => {
        due = 0;
        sight(false);
      });
    }, { passive: true });
    addEventListener("resize", () => sight(true));

    const draw = () => {
      shown = columns();
      const column = shown.find(({ name }) => name === by) || shown[0];
      found = rows.filter((row) => keep(row) && words.every((word) => row.text.includes(word)));
      found = found.map((row, i) => [column.value(row), i, row]).sort((a, b) => compare(a[0], b[0]) || a[1] - b[1]).map(([, , row]) => row);
      table.setAttribute("aria-rowcount", found.length + 1);
      heads();
      sight(true);
      told(found.length, rows.length);
    };

    // From row to row by keys; the row that has the focus is opened by Enter and chosen by the space bar.
    const focus = (to) => {
      if (!found.length) return;
      here = Math.min(Math.max(to, 0), found.length - 1);
      if (here * tall < frame.scrollTop) frame.scrollTop = here * tall;
      else if ((here + 2) * tall > frame.scrollTop + frame.clientHeight) frame.scrollTop = (here + 2) * tall - frame.clientHeight;
      sight(false);
      body.querySelector(`[data-at="${here}"]`)?.focus({ preventScroll: true });
      if (frame.getBoundingClientRect().bottom > innerHeight || frame.getBoundingClientRect().top < 0) frame.scrollIntoView({ block: "nearest" });
    };
    const inside = () => body.contains(document.activeElement);
    frame.addEventListener("keydown", (event) => {
      if (event.target.tagName !== "TR") return;
      here = Number(event.target.dataset.at);
      const page = Math.floor(frame.clientHeight / tall) - 2;
      const to = { ArrowDown: here + 1, ArrowUp: here - 1, PageDown: here + page, PageUp: here - page, Home: 0, End: found.length - 1 }[event.key];
      if (to !== undefined) focus(to);
      else if (event.key === "Enter" && open?.(found[here])) location.href = open(found[here]);
      else if (event.key === " " && chosen) event.target.querySelector("input").click();
      else return;
      event.preventDefault();
    });
    return {
      show(next, text) { rows = next.map((row) => ({ ...row, text: text(row).toLowerCase() })); draw(); },
      narrow(typed, rule) { words = typed.toLowerCase().split(/\s+/).filter(Boolean); keep = rule; frame.scrollTop = 0; draw(); },
      move(by) { focus(inside() ? here + by : by > 0 ? Math.ceil(frame.scrollTop / tall) : found.length - 1); },
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

// Runs or studies side by side.
(() => {
  "use strict";
  const { make, byId, fill, ask } = estranPage;
  const MARKS = { better: "▲ better", worse: "▼ worse", equivalent: "= equivalent", higher: "↑ higher", lower: "↓ lower", "cannot tell": "? cannot tell" };
  const KINDS = { better: "good", worse: "bad", equivalent: "unknown", higher: "going", lower: "going", "cannot tell": "warn" };
  let found = null;

  const sides = () => {
    const facts = [...new Set(found.sides.flatMap((side) => Object.keys(side.facts)))];
    const rows = facts.map((fact) => {
      const values = found.sides.map((side) => side.facts[fact] ?? "–");
      const differ = new Set(values).size > 1;
      return [fact, ...values.map((value) => (differ ? make("strong", {}, value) : value))];
    });
    fill("side-table", estranTables.small(["", ...found.sides.map((side) => side.name)], rows, { caption: "What they are" }));
  };
  const responses = () => {
    const parts = byId("parts").checked;
    const cell = (one) => make("div", {}, make("strong", {}, one.value), make("div", { class: "small muted" }, one.apart),
      one.verdict ? make("span", { class: `badge ${KINDS[one.verdict]} small` }, MARKS[one.verdict]) : "");
    const rows = found.rows.filter((row) => parts || !row.part).map((row) => [make("code", {}, row.response), row.first, ...row.cells.map(cell)]);
    const numeric = found.sides.map((_, i) => i + 1);
    const problems = found.problems.filter(Boolean).map((problem) => make("p", { class: "absent" }, problem));
    fill("response-table", ...problems, estranTables.small(["response", ...found.sides.map((side) => side.name)], rows, { numeric, caption: "Responses side by side" }));
  };
  const conclusions = () => {
    byId("conclusions").hidden = found.conclusions.length === 0;
    const told = (shares) => Object.entries(shares).filter(([, share]) => share >= 0.01).map(([term, share]) => `${term} ${Math.round(share * 100)} %`).join(", ") || "nothing";
    fill("conclusion-list", ...found.conclusions.map((one) => make("li", {}, `${one.response}, beside ${one.side}: ${one.agree ? "both find the same" : "conclusions differ"}: ${told(one.a)} | ${told(one.b)}`)));
  };

  // Runs over each other; studies have no course in time.
  let drawn = [], charts = [];
  const draw = () => {
    drawn.forEach((one) => one.remove());
    byId("charts").hidden = charts.length === 0;
    const places = charts.map((chart) => make("div", { class: "chart", tabindex: "0", role: "img", "data-chart": chart.id, "aria-label": `${chart.title}. Left and right arrow keys move the cursor.` }));
    fill("chart-list", ...charts.map((chart, i) => make("figure", {}, make("h3", {}, chart.title), places[i])));
    drawn = charts.map((chart, i) => estranPlot.make(chart, places[i]));
  };
  addEventListener("estran-theme", draw);
  addEventListener("resize", draw);
  const overlay = async () => {
    if (new URLSearchParams(location.search).get("kind") === "study") return;
    charts = await ask(`/api/compare/charts${location.search}`);
    draw();
  };

  byId("parts").addEventListener("input", responses);
  ask(`/api/compare${location.search}`).then((answer) => {
    found = answer;
    sides();
    responses();
    conclusions();
    document.body.dataset.ready = "yes";
    return overlay().catch(estranPage.complain);
  }, (error) => fill("side-table", make("p", { class: "absent" }, [error.message, error.remedy].filter(Boolean).join(" → "))));
})();

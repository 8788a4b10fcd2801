// Draws the charts of a report: each element with data-chart gets the series of that name from the page's data block.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("estran-data").textContent);
  const places = new Map([...document.querySelectorAll("[data-chart]")].map((place) => [place.dataset.chart, place]));
  const plots = [];

  const draw = () => {
    for (const plot of plots.splice(0)) plot.remove();
    for (const chart of data.charts) {
      const place = places.get(chart.id);
      if (place) plots.push(estranPlot.make(chart, place));
    }
  };
  draw();

  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(draw, 120);
  });

  addEventListener("estran-theme", draw);
})();

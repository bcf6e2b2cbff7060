// Over pages that work without it: curves that can be zoomed and that grow. htmx puts what changes in its place.
"use strict";
(() => {
  const COLOURS = { light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87800", "#2f8fc4"],
                    dark: ["#4ba3e3", "#ff8a3d", "#2ec99b", "#e6a5c9", "#f2c14e", "#a5d8f7"] };
  const DASHES = [[], [7, 3], [2, 3]];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map(); // figure → what it shows
  const MOST = 20000; // points of a curve that grows; beyond, it is fetched anew, thinned

  const short = (v) => v == null ? "" : v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e6)
    ? v.toExponential(2).replace("e+", "e") : String(Number(v.toPrecision(5)));

  // A logarithmic axis needs numbers above zero, at least one of them.
  const loggable = (values) => {
    let any = false;
    for (const v of values) if (v != null) { if (v <= 0) return false; any = true; }
    return any;
  };

  function options(figure, data, table) {
    const scheme = dark.matches ? "dark" : "light", style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
    const logX = data.log_x && loggable(table[0]);
    const logY = data.log_y && table.slice(1).every((ys) => !ys.some((v) => v != null && v <= 0))
      && table.slice(1).some(loggable);
    // Of a logarithmic axis all labels where they are few, else powers of ten.
    const filter = (u, splits) => splits.length <= 10 ? splits
      : splits.map((v) => Number.isInteger(Math.round(1e6 * Math.log10(v)) / 1e6) ? v : null);
    const axis = (label, log) => ({ label, ...(log ? { filter } : {}), labelSize: 20, stroke: ink, grid: { stroke: line, width: 1 },
      ticks: { stroke: line }, size: label === data.y ? 64 : 40,
      values: (u, splits) => splits.map((v) => v == null ? "" : short(v)) });
    return {
      width: Math.max(280, figure.clientWidth), height: 320,
      scales: { x: { time: false, distr: logX ? 3 : 1, range: (u, low, high) => logX && low < high ? [low, high] : uPlot.rangeNum(low, high, 0, false) },
        y: { distr: logY ? 3 : 1 } },
      axes: [axis(data.x, logX), axis(data.y, logY)],
      cursor: { sync: { key: `x-${data.x}` }, drag: { x: true, y: true, uni: 20 } },
      legend: { show: true },
      series: [{ label: data.x, value: (u, v) => short(v) }, ...data.series.map((one, i) => ({
        label: one.label, stroke: COLOURS[scheme][i % 6], width: 1.6, spanGaps: true,
        dash: DASHES[Math.floor(i / 6) % 3], value: (u, v) => short(v),
        points: { show: one.x.length < 40 } }))],
    };
  }

  // One x for all series, as uPlot wants it.
  const joined = (series) => series.length
    ? uPlot.join(series.map((one) => [one.x, one.y])) : [[], []];

  function draw(figure, data) {
    const before = drawn.get(figure);
    if (before) before.plot.destroy();
    const table = joined(data.series);
    if (!table[0].length) { drawn.delete(figure); return; }
    let box = figure.querySelector(".plot");
    if (!box) {
      box = document.createElement("div");
      box.className = "plot";
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", figure.querySelector("img").alt);
      figure.querySelector("img").before(box);
    }
    const plot = new uPlot(options(figure, data, table), table, box);
    figure.classList.add("drawn");
    figure.dataset.points = table[0].length;
    drawn.set(figure, { plot, data });
  }

  async function load(figure) {
    try {
      const answer = await fetch(figure.dataset.curve, { headers: { accept: "application/json" } });
      if (answer.ok) draw(figure, await answer.json());
    } catch { /* the image stays */ }
  }

  const figures = () => document.querySelectorAll("figure[data-curve]");
  const start = () => {
    for (const [figure, one] of drawn)
      if (!figure.isConnected) { one.plot.destroy(); drawn.delete(figure); }
    for (const figure of figures()) if (!drawn.has(figure)) load(figure);
  };

  // New points: x rises, or the run went back and everything is fetched anew.
  function grow(metrics) {
    for (const [figure, one] of drawn) {
      const more = metrics[figure.dataset.metric];
      if (!more || one.data.series.length !== 1) continue;
      const series = one.data.series[0], [xs, ys] = more;
      if (xs[0] <= series.x[series.x.length - 1] || series.x.length + xs.length > MOST) { load(figure); continue; }
      series.x.push(...xs);
      series.y.push(...ys);
      one.plot.setData(joined(one.data.series));
      figure.dataset.points = series.x.length;
    }
  }

  document.addEventListener("points", (event) => grow(JSON.parse(event.detail.data)));
  document.addEventListener("again", () => { for (const figure of figures()) load(figure); });
  document.addEventListener("htmx:after:swap", start);
  document.addEventListener("htmx:sse:after:connection", () => document.body.classList.add("live-on"));
  document.addEventListener("htmx:sse:close", () => document.body.classList.remove("live-on"));
  dark.addEventListener("change", () => { for (const [figure, one] of [...drawn]) draw(figure, one.data); });
  let wait = 0;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(() => { for (const [figure, one] of drawn)
      one.plot.setSize({ width: Math.max(280, figure.clientWidth), height: 320 }); }, 100);
  });
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start); else start();
})();

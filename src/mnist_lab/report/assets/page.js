// Draws the charts, sorts the tables, and keeps one choice of trials the same in all of a run's.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const isCoarse = matchMedia("(pointer: coarse)").matches; // a finger scrolls, it does not zoom
  const PRINT_WIDTH = 680; // CSS pixels that fit on A4 and on US letter
  const redraws = [];

  // --- colours and layout, as the page's style has them at the moment

  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  function mixed(share) {
    const [good, bad] = ["good", "bad"].map((name) =>
      color(name).match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16)));
    return `rgb(${good.map((part, i) => Math.round(part + share * (bad[i] - part)))})`;
  }

  function colorOf(trial) {
    const series = color("series").split(" ");
    if (trial.group !== null) return series[trial.group % series.length];
    return trial.shade === null ? color("warn") : mixed(trial.shade);
  }

  // Plotly reads a little HTML in its texts.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const lines = (text) => plain(text).replace(/\n/g, "<br>");

  function percent(error) {
    return `${Number((100 * error).toPrecision(3))} %`;
  }

  function errorAxis(title, errors) {
    const known = errors.filter((error) => error > 0);
    const low = Math.min(...known), high = Math.max(...known);
    const steps = high / low < 10 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] : [1, 2, 5];
    const ticks = [];
    for (let power = -6; power <= 0; power++) {
      for (const step of steps) ticks.push(step * 10 ** power);
    }
    return { title: { text: title }, type: "log", tickvals: ticks, ticktext: ticks.map(percent) };
  }

  function epochAxis(trials) {
    const reached = trials.flatMap(({ epochs }) => epochs.map(([, , , at, words]) => [at, words]));
    const last = Math.max(1, ...reached.map(([at]) => at));
    const parts = new Map(reached.filter(([at]) => at < 1));
    if (parts.size) {
      for (let whole = 1; whole <= last; whole *= 2) parts.set(whole, String(whole));
      return { type: "log", tickvals: [...parts.keys()], ticktext: [...parts.values()] };
    }
    const margin = Math.max(0.15, 0.03 * last);
    return { tick0: 1, dtick: Math.ceil(last / 12), range: [1 - margin, last + margin] };
  }

  function layout(extra) {
    const axis = { gridcolor: color("line"), zeroline: false, linecolor: color("line"), automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, 'DejaVu Sans', sans-serif", size: 12, color: color("ink") },
      margin: { l: 10, r: 10, t: 10, b: 10 },
      hovermode: "closest", dragmode: isCoarse ? false : "zoom", uirevision: "kept",
      hoverlabel: { align: "left" },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      width: "print" in root.dataset ? PRINT_WIDTH : undefined,
      autosize: !("print" in root.dataset),
      ...extra,
      xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
    };
  }

  const CONFIG = { responsive: true, displayModeBar: false };

  // --- the tables

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        // Boxes to tick may stand before the first column.
        sort(table, head.cellIndex, order === "ascending" ? 1 : -1);
      });
    });
  }

  function sort(table, column, sign) {
    const key = (row) => {
      const cell = row.cells[column];
      if ("value" in cell.dataset) return Number(cell.dataset.value);
      return cell.textContent === "–" ? null : cell.textContent;
    };
    const compare = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null); // nothing comes last
      if (typeof a === typeof b && typeof a === "number") return sign * (a - b);
      return sign * String(a).localeCompare(String(b));
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort((a, b) => compare(a[0], b[0]));
    body.append(...rows.map(([, row]) => row));
  }

  // --- one run

  function showRun(section, run) {
    const parallel = section.querySelector(".parallel");
    const curves = section.querySelector(".curves");
    const charts = parallel ? [parallel, curves] : [curves];
    const rows = new Map([...section.querySelectorAll("tr[data-trial]")]
      .map((row) => [Number(row.dataset.trial), row]));
    let chosen = new Set(); // none means all

    const opacity = (trial) => chosen.size === 0 || chosen.has(trial.trial) ? 1 : 0.12;
    const width = (trial) => chosen.has(trial.trial) ? 2.2 : 1.5;

    function line(trial) {
      return {
        type: "scatter", mode: "lines+markers", name: trial.value ?? "", showlegend: false,
        opacity: opacity(trial), line: { color: colorOf(trial), width: width(trial) },
        hovertemplate: "%{text}<extra></extra>",
      };
    }

    function drawCurves() {
      const seen = new Set();
      const traces = run.trials.map((trial) => {
        const isFirst = trial.group !== null && !seen.has(trial.group);
        seen.add(trial.group);
        return {
          ...line(trial), showlegend: isFirst,
          x: trial.epochs.map(([, , , at]) => at),
          y: trial.epochs.map(([error]) => error === null ? null : Math.max(error, run.floor)),
          text: trial.epochs.map(([, valid, train, , at]) =>
            lines(`${trial.label}\nepoch ${at}: validation ${valid}, training ${train}`)),
          marker: { size: 5 },
        };
      });
      const errors = traces.flatMap((trace) => trace.y.filter((error) => error !== null));
      return Plotly.react(curves, traces, layout({
        xaxis: { title: { text: "epoch" }, ...epochAxis(run.trials) },
        yaxis: errorAxis(run.measure, errors),
        legend: {
          orientation: "h", y: 1.02, yanchor: "bottom", title: { text: run.varied ?? "" },
        },
      }), CONFIG);
    }

    function drawParallel() {
      const at = run.axes.map((_, i) => i);
      const isNarrow = parallel.clientWidth < 90 * at.length && !("print" in root.dataset);
      const traces = run.trials.map((trial) => ({
        ...line(trial), x: at, y: trial.places, text: at.map(() => lines(trial.label)),
        marker: { size: 6 },
        // Which trials stand out is said by their opacity, not point by point.
        selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } },
      }));
      const ticks = run.axes.flatMap((axis, x) => axis.ticks.map(([y, text]) => ({
        x, y, text: plain(text), showarrow: false, xanchor: "left", xshift: isNarrow ? 3 : 7,
        font: { size: isNarrow ? 9 : 11, color: color("ink") }, bgcolor: color("page"), opacity: 0.85,
      })));
      return Plotly.react(parallel, traces, layout({
        annotations: ticks, dragmode: "select",
        selections: parallel.layout?.selections,
        newselection: { line: { color: color("link"), width: 2 } },
        xaxis: {
          range: isNarrow ? [-0.5, at.length - 0.1] : [-0.25, at.length - 0.45],
          tickvals: at, side: "top", fixedrange: true,
          ticktext: run.axes.map(({ name }) => plain(name).replace(/ /g, "<br>")), tickangle: 0,
          tickfont: { size: isNarrow ? 9 : 12 }, gridcolor: color("quiet"),
        },
        yaxis: { range: [-0.06, 1.18], visible: false, fixedrange: true },
      }), CONFIG);
    }

    function redraw() {
      if (parallel) drawParallel();
      drawCurves();
    }

    function choose(trials) {
      chosen = new Set(trials);
      for (const [trial, row] of rows) {
        row.classList.toggle("chosen", chosen.has(trial));
        row.classList.toggle("faded", chosen.size > 0 && !chosen.has(trial));
        row.querySelector("input").checked = chosen.has(trial);
      }
      section.querySelector(".clear").hidden = chosen.size === 0;
      section.querySelector("output").textContent =
        chosen.size ? `${chosen.size} of ${rows.size} trials chosen` : "";
      for (const chart of charts) {
        Plotly.restyle(chart, { opacity: run.trials.map(opacity), "line.width": run.trials.map(width) });
      }
    }

    function clearBoxes() {
      if (parallel?.layout.selections?.length) Plotly.relayout(parallel, { selections: [] });
    }

    function toggle(trial) {
      clearBoxes();
      choose(chosen.has(trial) ? [...chosen].filter((one) => one !== trial) : [...chosen, trial]);
    }

    function addBoxes() {
      const head = document.createElement("th");
      head.className = "pick";
      head.setAttribute("aria-label", "chosen");
      section.querySelector("tr[data-trial]").closest("table").tHead.rows[0].prepend(head);
      for (const [trial, row] of rows) {
        const box = document.createElement("input");
        box.type = "checkbox";
        box.setAttribute("aria-label", `trial ${trial}`);
        box.addEventListener("change", () => toggle(trial));
        const cell = document.createElement("td");
        cell.append(box);
        row.prepend(cell);
        row.addEventListener("click", (event) => {
          if (event.target !== box && getSelection().isCollapsed) toggle(trial);
        });
      }
    }

    addBoxes();
    section.querySelector(".clear").addEventListener("click", () => {
      clearBoxes();
      choose([]);
    });
    redraw();
    redraws.push(redraw);
    if (parallel) {
      parallel.on("plotly_selected", (event) => choose(boxed(event?.points ?? [], run.trials)));
      parallel.on("plotly_deselect", () => choose([]));
    }
    for (const chart of charts) {
      chart.on("plotly_click", ({ points }) => toggle(run.trials[points[0].curveNumber].trial));
    }
  }

  // On one axis either box may hold a trial; on several axes each must.
  function boxed(points, trials) {
    const axes = new Map();
    for (const point of points) {
      if (!axes.has(point.pointNumber)) axes.set(point.pointNumber, new Set());
      axes.get(point.pointNumber).add(trials[point.curveNumber].trial);
    }
    const [first = [], ...others] = axes.values();
    return [...first].filter((trial) => others.every((one) => one.has(trial)));
  }

  // --- several runs

  function showComparison(chart, runs) {
    function redraw() {
      const series = color("series").split(" ");
      const traces = runs.map((run, i) => ({
        type: "scatter", mode: "lines+markers", name: plain(run.label),
        x: run.epochs, y: run.errors.map((error) => Math.max(error, run.floor)),
        text: run.words.map((words, at) =>
          lines(`${run.label}\n${words} after ${run.epochs[at]} epochs`)),
        hovertemplate: "%{text}<extra></extra>",
        line: { shape: "hv", color: series[i % series.length], width: 2 }, marker: { size: 5 },
      }));
      const last = Math.max(1, ...runs.flatMap(({ epochs }) => epochs));
      Plotly.react(chart, traces, layout({
        xaxis: {
          title: { text: "epochs trained, all trials together" }, rangemode: "tozero",
          dtick: last <= 24 ? Math.ceil(last / 12) : undefined, // no half epochs between few
        },
        yaxis: errorAxis("lowest validation error so far", traces.flatMap(({ y }) => y)),
      }), CONFIG);
    }
    redraw();
    redraws.push(redraw);
  }

  // --- the page

  for (const part of document.querySelectorAll(".interactive")) part.hidden = false;
  for (const part of document.querySelectorAll(".still")) part.hidden = true; // drawn anew instead
  for (const table of document.querySelectorAll("table")) makeSortable(table);
  for (const section of document.querySelectorAll("section.run")) {
    if (section.querySelector(".curves")) showRun(section, data.runs[section.dataset.run - 1]);
  }
  const spending = document.querySelector(".spending");
  if (spending) showComparison(spending, data.comparison);

  const redrawAll = () => redraws.forEach((redraw) => redraw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  addEventListener("beforeprint", () => { root.dataset.print = ""; redrawAll(); });
  addEventListener("afterprint", () => { delete root.dataset.print; redrawAll(); });
})();

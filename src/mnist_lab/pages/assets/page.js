// Draws the figures of runs, sorts and filters their tables, and keeps one choice of trials the
// same in all of a run's. Who has newer data calls MnistLab.update(html) with run.html rendered
// again: text, tables and figures are made anew; zoom, ticks, order, filters and places in the
// scrolled frames stay. The list of runs sorts and filters its own table with the rest.
"use strict";
const MnistLab = (() => {
  const root = document.documentElement;
  const isCoarse = matchMedia("(pointer: coarse)").matches; // a finger scrolls, it does not zoom
  const PRINT_WIDTH = 680; // CSS pixels that fit on A4 and on US letter
  const sections = new Map(); // what is shown of each run, by the id of its section
  const isPrinted = () => "print" in root.dataset;

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  // --- plotly's words: colours of the page's style, and texts in which nothing is HTML

  function color(name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  }

  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;")
    .replace(/>/g, "&gt;").replace(/\n/g, "<br>");
  const TEXTS = new Set(["name", "text", "ticktext"]);

  function translated(value, key = "") {
    if (Array.isArray(value)) {
      return value.length && typeof value.find((one) => one !== null) === "number"
        ? value : value.map((one) => translated(one, key));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([name, one]) => [name, translated(one, name)]));
    }
    if (typeof value !== "string") return value;
    if (/color$/.test(key) && value.startsWith("--")) return color(value);
    return TEXTS.has(key) ? plain(value) : value;
  }

  // --- a figure

  const CONFIG = { responsive: true, displayModeBar: false };

  // How many powers of ten the heights of these traces span.
  function decades(traces) {
    let low = Infinity, high = 0;
    for (const { y } of traces) {
      for (const value of y) {
        if (value > 0) [low, high] = [Math.min(low, value), Math.max(high, value)];
      }
    }
    return Math.log10(high / low);
  }

  function layoutOf(figure, choice) {
    const axis = {
      gridcolor: color("--line"), zeroline: false, linecolor: color("--line"), automargin: true,
      exponentformat: "none",
    };
    const own = translated(choice.layout);
    const yaxis = { ...axis, ...own.yaxis };
    if (figure.isLinear && yaxis.type === "log") Object.assign(yaxis, { type: "linear", rangemode: "tozero" });
    if (yaxis.type === "log" && decades(choice.traces) < 1.3) yaxis.nticks = 3; // others would touch
    const legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", ...own.legend };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, 'DejaVu Sans', sans-serif", size: 12, color: color("--ink") },
      hovermode: "closest", hoverlabel: { align: "left" },
      dragmode: isCoarse ? false : "zoom",
      // Zoom and legend stay until another choice, or another scale, is shown.
      uirevision: `${figure.chosen} ${figure.isLinear} ${figure.nResets}`,
      ...(figure.name === "parallel" && {
        dragmode: "select", selections: figure.plot.layout?.selections,
        newselection: { line: { color: color("--link"), width: 2 } },
      }),
      width: isPrinted() ? PRINT_WIDTH : undefined, autosize: !isPrinted(),
      ...own,
      legend, yaxis, margin: { l: 10, r: 10, t: 10, b: 10, ...own.margin }, xaxis: { ...axis, ...own.xaxis },
    };
  }

  function tracesOf(shown, figure, choice) {
    const traces = choice.traces.map((trace) => {
      const made = translated(trace);
      if (trace.customdata) made.text = trace.customdata.map((trial) => shown.words.get(trial));
      return { type: "scatter", ...made };
    });
    if (!shown.chosen.size) return traces;
    const strong = choice.traces.flatMap((trace, index) => {
      if (!trace.customdata) return [];
      const kept = trace.customdata.map((trial, at) => shown.chosen.has(trial) ? at : -1)
        .filter((at) => at >= 0);
      if (!kept.length) return [];
      const only = (values) => kept.map((at) => values[at]);
      const made = { ...traces[index], showlegend: false, opacity: 1 };
      for (const key of ["x", "y", "customdata", "text"]) made[key] = only(made[key]);
      const { marker, line } = made;
      if (Array.isArray(marker?.size)) made.marker = { ...marker, size: only(marker.size) };
      if (line) made.line = { ...line, width: Math.max(2.2, line.width) };
      return [made];
    });
    const faded = traces.map((trace, index) =>
      choice.traces[index].customdata ? { ...trace, opacity: 0.15 } : trace);
    return [...faded, ...strong];
  }

  function react(shown, figure) {
    const choice = figure.choices[figure.chosen];
    figure.isStale = false;
    Plotly.react(figure.plot, tracesOf(shown, figure, choice), layoutOf(figure, choice), CONFIG);
    if (figure.isDrawn) return;
    figure.isDrawn = true;
    figure.plot.on("plotly_click", ({ points }) => {
      const trial = points[0]?.customdata;
      if (trial) toggle(shown, trial);
    });
    if (figure.name === "parallel") {
      figure.plot.on("plotly_selected", () => choose(shown, boxed(figure)));
      figure.plot.on("plotly_deselect", () => choose(shown, []));
    }
  }

  // A figure is drawn while it is near the window, or when it comes there, or is printed.
  function refresh(shown, figure) {
    figure.isStale = true;
    if (figure.isNear || isPrinted()) react(shown, figure);
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const { shown, figure } = target.of;
      figure.isNear = isIntersecting;
      if (isIntersecting && figure.isStale) react(shown, figure);
    }
  }, { rootMargin: "300px" });

  // On one axis either box may hold a trial; on several axes each must.
  function boxed(figure) {
    const axes = new Map();
    for (const box of figure.plot.layout.selections ?? []) {
      const [left, right] = [Number(box.x0), Number(box.x1)].sort((a, b) => a - b);
      const [low, high] = [Number(box.y0), Number(box.y1)].sort((a, b) => a - b);
      for (const { x, y, customdata } of figure.choices[figure.chosen].traces) {
        customdata.forEach((trial, at) => {
          if (x[at] === null || x[at] < left || x[at] > right) return;
          if (!axes.has(x[at])) axes.set(x[at], new Set());
          if (y[at] >= low && y[at] <= high) axes.get(x[at]).add(trial);
        });
      }
    }
    const [first = [], ...others] = axes.values();
    return [...first].filter((trial) => others.every((one) => one.has(trial)));
  }

  function makeFigure(shown, name, { title, about }) {
    const id = `${shown.section.id}-${name}`;
    const plot = make("div", { className: "plot" });
    const buttons = make("div", { className: "buttons" });
    const element = make("figure", { className: `chart ${name}` },
      make("figcaption", {}, make("h3", { id, textContent: title }),
        make("p", { className: "hint", textContent: about }), buttons),
      make("div", { className: "frame" }, plot));
    element.setAttribute("aria-labelledby", id);
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `${title}. ${about}`);
    const figure = { name, plot, buttons, element, isLinear: false, nResets: 0 };
    plot.of = { shown, figure };
    watcher.observe(plot);
    return figure;
  }

  function button(text, isPressed, act) {
    const made = make("button", { type: "button", textContent: text });
    if (isPressed !== null) made.setAttribute("aria-pressed", isPressed);
    made.addEventListener("click", act);
    return made;
  }

  // What can be chosen of a figure; they stay the same elements, so that none loses the focus.
  function addButtons(shown, figure) {
    const names = Object.keys(figure.choices);
    const given = JSON.stringify(names);
    if (figure.given === given) return;
    figure.given = given;
    const made = [];
    const add = (text, isPressed, change) => {
      const press = () => {
        change();
        for (const [one, state] of made) if (state) one.setAttribute("aria-pressed", state());
        react(shown, figure);
      };
      made.push([button(text, isPressed?.() ?? null, press), isPressed]);
    };
    for (const name of names.length > 1 ? names : []) {
      add(name, () => figure.chosen === name, () => { figure.chosen = name; });
    }
    if (figure.choices[names[0]].layout.yaxis?.type === "log") {
      add("linear scale", () => figure.isLinear, () => { figure.isLinear = !figure.isLinear; });
    }
    if (!["parallel", "influence"].includes(figure.name)) add("reset zoom", null, () => { figure.nResets += 1; });
    figure.buttons.replaceChildren(...made.map(([one]) => one));
  }

  // --- a section: the figures and tables of one run, or of several

  function draw(section, data) {
    if (!sections.has(section.id)) {
      sections.set(section.id, { figures: new Map(), tables: new Map(), chosen: new Set(), section });
    }
    const shown = sections.get(section.id);
    shown.words = new Map(Object.entries(data.labels).map(([trial, text]) => [Number(trial), plain(text)]));
    const names = Object.keys(data.figures), n = shown.figures.size;
    for (const name of names) {
      const given = data.figures[name];
      if (!shown.figures.has(name)) shown.figures.set(name, makeFigure(shown, name, given));
      const figure = shown.figures.get(name);
      figure.choices = given.choices;
      if (!(figure.chosen in given.choices)) figure.chosen = Object.keys(given.choices)[0];
      addButtons(shown, figure);
    }
    if (shown.figures.size > n) {
      section.querySelector(".charts").append(...names.map((name) => shown.figures.get(name).element));
    }
    redraw(shown);
    return shown;
  }

  function redraw(shown) {
    for (const figure of shown.figures.values()) refresh(shown, figure);
  }

  function choose(shown, trials) {
    shown.chosen = new Set(trials);
    mark(shown);
    redraw(shown);
  }

  function removeBoxes(shown) {
    const plot = shown.figures.get("parallel")?.plot;
    if (plot?.layout?.selections?.length) Plotly.relayout(plot, { selections: [] });
  }

  function toggle(shown, trial) {
    removeBoxes(shown);
    const { chosen } = shown;
    choose(shown, chosen.has(trial) ? [...chosen].filter((one) => one !== trial) : [...chosen, trial]);
  }

  // The choice, in the rows of the table of trials.
  function mark({ section, chosen }) {
    const rows = [...section.querySelectorAll("tr[data-trial]")];
    for (const row of rows) {
      const isChosen = chosen.has(Number(row.dataset.trial));
      row.classList.toggle("picked", isChosen);
      row.classList.toggle("faded", chosen.size > 0 && !isChosen);
      const box = row.querySelector("input");
      if (box) box.checked = isChosen;
    }
    const bar = section.querySelector(".choice");
    if (!bar) return;
    bar.hidden = chosen.size === 0;
    bar.querySelector("output").textContent =
      chosen.size ? `${chosen.size} of ${rows.length} trials chosen` : "";
  }

  // --- tables

  function adorn(shown, part) {
    const table = part.querySelector("table");
    const { key } = part.dataset;
    if (!shown.tables.has(key)) shown.tables.set(key, { sorted: null, filter: "" });
    const state = shown.tables.get(key);
    const hasTrials = table.querySelector("tr[data-trial]") !== null;
    if (hasTrials) addBoxes(shown, table);
    makeSortable(table, state);
    if (hasTrials) addFilter(part, table, state);
    if (state.sorted) sort(table, state);
    filter(table, state);
  }

  function makeSortable(table, state) {
    for (const head of table.tHead.rows[0].cells) {
      if (head.classList.contains("pick")) continue;
      const name = head.textContent;
      head.setAttribute("aria-sort", "none");
      head.replaceChildren(button(name, null, () => {
        const isUp = state.sorted?.name === name && state.sorted.sign === 1;
        state.sorted = { name, sign: isUp ? -1 : 1 };
        sort(table, state);
      }));
    }
  }

  function sort(table, { sorted: { name, sign } }) {
    const heads = [...table.tHead.rows[0].cells];
    const column = heads.findIndex((head) => head.textContent === name);
    if (column < 0) return;
    for (const head of heads) if (head.hasAttribute("aria-sort")) head.setAttribute("aria-sort", "none");
    heads[column].setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
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
    const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
    rows.sort((a, b) => compare(a[0], b[0]));
    let place = table.tBodies[0].firstElementChild;
    for (const [, row] of rows) { // what stands in its place keeps its focus
      if (row === place) place = place.nextElementSibling;
      else table.tBodies[0].insertBefore(row, place);
    }
  }

  // Parts of a filter, between commas: words that a row must have, or a column, a sign, a number.
  function filter(table, state) {
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.toLowerCase());
    const tests = state.filter.toLowerCase().split(",").map((part) => part.trim()).filter(Boolean)
      .map((part) => {
        const found = /^(.+?)\s*(<=|>=|<|>|=)\s*([\d.e-]+)\s*%?$/.exec(part);
        const column = found ? heads.findIndex((head) => head.includes(found[1])) : -1;
        if (column < 0) return (row) => row.textContent.toLowerCase().includes(part);
        const [, , sign, number] = found;
        return (row) => {
          const value = parseFloat(row.cells[column].textContent.replace(/,/g, ""));
          return { "<": value < number, ">": value > number, "=": value === Number(number),
            "<=": value <= number, ">=": value >= number }[sign];
        };
      });
    let n = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !tests.every((test) => test(row));
      n += !row.hidden;
    }
    const output = table.closest(".table").querySelector(".tools output");
    if (output) output.textContent = tests.length ? `${n} of ${table.tBodies[0].rows.length} shown` : "";
  }

  function addFilter(part, table, state) {
    if (table.tBodies[0].rows.length < 2) return;
    const input = make("input", {
      type: "search", placeholder: "5×5, validation error < 2, complete", value: state.filter,
    });
    input.addEventListener("input", () => { state.filter = input.value; filter(table, state); });
    const output = make("output");
    output.setAttribute("aria-live", "polite");
    const label = make("label", {}, "Filter ", input);
    part.querySelector(".scroll").before(make("div", { className: "tools" }, label, output));
  }

  function addBoxes(shown, table) {
    const head = make("th", { className: "pick", scope: "col" });
    head.setAttribute("aria-label", "chosen");
    table.tHead.rows[0].prepend(head);
    for (const row of table.tBodies[0].rows) {
      const trial = Number(row.dataset.trial);
      const box = make("input", { type: "checkbox" });
      box.setAttribute("aria-label", `trial ${trial}`);
      row.prepend(make("td", {}, box));
    }
    table.tBodies[0].addEventListener("click", ({ target }) => {
      const row = target.closest("tr");
      if (target.tagName === "INPUT" || getSelection().isCollapsed) toggle(shown, Number(row.dataset.trial));
    });
  }

  // --- a test: a cell of its matrix opens the images

  function openMatrix(shown) {
    const { section } = shown;
    const gallery = section.querySelector(".mistakes");
    if (!gallery) return;
    const bar = gallery.querySelector(".opened"), items = [...gallery.querySelectorAll("li")];
    const pairs = new Map(items.map((item) => [item.dataset.pair, item.querySelector("span").textContent]));
    const show = (pair) => {
      shown.pair = pair;
      for (const item of items) item.hidden = pair !== null && item.dataset.pair !== pair;
      bar.hidden = pair === null;
      const n = items.filter((item) => !item.hidden).length;
      bar.querySelector("output").textContent =
        pair === null ? "" : `${pairs.get(pair)}: ${n} of ${items.length} images.`;
    };
    bar.querySelector("button").onclick = () => show(null);
    if (pairs.has(shown.pair)) show(shown.pair);
    for (const cell of section.querySelectorAll(".confusion td[data-pair]")) {
      const words = pairs.get(cell.dataset.pair);
      if (!words || cell.querySelector("button")) continue;
      const opener = button(cell.textContent, null, () => {
        show(cell.dataset.pair);
        gallery.scrollIntoView({ block: "nearest" });
      });
      opener.setAttribute("aria-label", `${cell.textContent}: ${words}`);
      cell.replaceChildren(opener);
    }
  }

  // --- all of a section, first and again

  const sources = new WeakMap(); // of each live part, the HTML that it was made from

  function show(section) {
    for (const part of section.querySelectorAll("[data-live]")) sources.set(part, part.outerHTML);
    const shown = draw(section, JSON.parse(section.querySelector("script.data").textContent));
    for (const part of section.querySelectorAll(".table")) adorn(shown, part);
    openMatrix(shown);
    section.querySelector(".clear")?.addEventListener("click", () => {
      removeBoxes(shown);
      choose(shown, []);
    });
  }

  function update(html) {
    const given = new DOMParser().parseFromString(html, "text/html").querySelector("section");
    const section = document.getElementById(given.id);
    const shown = sections.get(section.id);
    for (const fresh of given.querySelectorAll("[data-live]")) {
      const old = section.querySelector(`[data-live="${fresh.dataset.live}"]`);
      const source = fresh.outerHTML;
      if (sources.get(old) === source) continue;
      const part = document.importNode(fresh, true);
      sources.set(part, source);
      const focused = old.contains(document.activeElement) ? document.activeElement : null;
      const open = [...old.querySelectorAll("details")].map((one) => one.open);
      const places = [...old.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
      old.replaceWith(part);
      for (const table of part.querySelectorAll(".table")) adorn(shown, table);
      part.querySelectorAll("details").forEach((one, at) => { one.open = open[at] ?? false; });
      part.querySelectorAll(".scroll").forEach((one, at) => one.scrollTo(...(places[at] ?? [0, 0])));
      if (focused) refocus(part, focused);
    }
    openMatrix(shown);
    mark(shown);
    draw(section, JSON.parse(given.querySelector("script.data").textContent));
  }

  function refocus(part, focused) {
    const name = (one) => one.getAttribute("aria-label") ?? one.textContent;
    const same = [...part.querySelectorAll(focused.tagName)].find((one) => name(one) === name(focused));
    same?.focus({ preventScroll: true });
    if (same?.type === "search") same.setSelectionRange(focused.selectionStart, focused.selectionEnd);
  }

  // --- the page

  for (const section of document.querySelectorAll("section.run")) show(section);
  const redrawAll = () => sections.forEach(redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  addEventListener("beforeprint", () => {
    root.dataset.print = "";
    for (const one of document.querySelectorAll("details:not([open])")) {
      one.open = true;
      one.dataset.opened = "";
    }
    redrawAll();
  });
  addEventListener("afterprint", () => {
    delete root.dataset.print;
    for (const one of document.querySelectorAll("details[data-opened]")) {
      one.open = false;
      delete one.dataset.opened;
    }
    redrawAll();
  });
  return { update, makeSortable, sort, filter };
})();

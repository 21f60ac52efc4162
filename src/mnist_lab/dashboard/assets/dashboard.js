// Keeps a page of the dashboard up to date: the server says what changed, and nothing that one was
// looking at is lost. Of the list the order, the filter and the chosen runs outlive the page.
"use strict";
(() => {
  const live = document.getElementById("live");
  const place = document.querySelector("[data-events]");
  if (!place) return; // a run that cannot be read

  function say(text, look) {
    live.textContent = text;
    live.className = look;
  }

  // A page that nobody sees does not listen: a browser has few connections to one server.
  function follow(use) {
    const address = new URL(place.dataset.events, location);
    let source;
    function listen() {
      source?.close();
      if (document.hidden) return;
      source = new EventSource(address);
      source.onopen = () => say("Live", "hint on");
      source.onmessage = ({ data, lastEventId }) => {
        address.searchParams.set("since", lastEventId);
        use(JSON.parse(data));
      };
      source.onerror = () => say(source.readyState === EventSource.CLOSED
        ? "This dashboard has ended. Open the address that the new one printed."
        : "The dashboard does not answer. Trying again.", "lost");
    }
    document.addEventListener("visibilitychange", listen);
    listen();
  }

  // --- a run, or several compared

  let drawn = Promise.resolve();

  async function redraw() {
    // Without what follows a #, as after "Skip to the content": it would swallow the part.
    const answer = await fetch(`${location.search}&part=1`).catch(() => null);
    if (!answer) return; // the stream says why
    const text = await answer.text();
    if (answer.ok) MnistLab.update(text);
    else say(text, "lost");
  }

  // --- all runs

  function showRuns(form) {
    const table = form.querySelector("table"), [body] = table.tBodies;
    const search = form.querySelector("input[type=search]"), compare = form.querySelector("#compare");
    const asked = new URLSearchParams(location.search);
    const state = { filter: asked.get("filter") ?? "", sorted: { name: "when", sign: -1 } };
    if (asked.get("sort")) {
      state.sorted = { name: asked.get("sort").replace(/^-/, ""), sign: asked.get("sort")[0] === "-" ? -1 : 1 };
    }

    function remember() {
      const { name, sign } = state.sorted;
      const kept = new URLSearchParams({ sort: (sign < 0 ? "-" : "") + name });
      if (state.filter) kept.set("filter", state.filter);
      history.replaceState(null, "", `?${kept}`);
    }

    const boxes = () => [...body.querySelectorAll("input")];
    function count() {
      const chosen = boxes().filter((box) => box.checked);
      sessionStorage.setItem("chosen", JSON.stringify(chosen.map((box) => box.value)));
      compare.disabled = chosen.length < 2;
      compare.textContent = `Compare ${chosen.length || ""} chosen runs`.replace("  ", " ");
    }

    // Cells that stay as they are keep their focus, and a box its tick.
    function put(html) {
      const fresh = document.createElement("tbody");
      fresh.innerHTML = html;
      const [row] = fresh.rows;
      const old = [...body.rows].find((one) => one.dataset.run === row.dataset.run);
      if (!old) body.prepend(row);
      else [...row.cells].forEach((cell, at) => {
        if (old.cells[at].outerHTML !== cell.outerHTML) old.cells[at].replaceWith(cell);
      });
    }

    function arrange() {
      const focused = document.activeElement;
      MnistLab.sort(table, state);
      MnistLab.filter(table, state);
      if (document.activeElement !== focused && focused?.isConnected) focused.focus({ preventScroll: true });
      form.querySelector("#none").hidden = body.rows.length > 0;
    }

    MnistLab.makeSortable(table, state);
    search.value = state.filter;
    search.addEventListener("input", () => {
      state.filter = search.value;
      MnistLab.filter(table, state);
      remember();
    });
    search.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
    table.tHead.addEventListener("click", remember); // after it is sorted
    const chosen = new Set(JSON.parse(sessionStorage.getItem("chosen") ?? "[]"));
    for (const box of boxes()) box.checked = chosen.has(box.value);
    form.addEventListener("change", count);
    arrange();
    count();
    return ({ rows, names, tally }) => {
      Object.values(rows).forEach(put);
      if (names) for (const row of [...body.rows]) if (!names.includes(row.dataset.run)) row.remove();
      form.querySelector("#tally").textContent = tally;
      arrange();
      count();
    };
  }

  follow(place.id === "runs" ? showRuns(place)
    : () => { drawn = drawn.then(redraw, redraw); }); // one after another
})();

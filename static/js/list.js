/* The queue as a list: what is new gathers in a bar; what was decided is marked in place, and folds into one line once
   somebody goes on. No row moves by itself, and the row of the open message is in view. Also keeps what every page
   shows of the queue: the counts, the tab's title, the freshness line, the ages. */
(() => {
  "use strict";
  const { HELD, all, emit, getPage, row, say } = window.desk;
  const PLACE = "countersign-place";
  const known = new Set();
  const news = new Set();
  let heard = performance.now();
  let cursor = "";
  // The row that was pressed, until its message has come.
  let pressed = "";
  let lost = "";
  let isUnfolded = false;
  const stale = new Set();
  const asked = new Set();
  const list = () => document.getElementById("list");
  const openId = () => document.getElementById("message")?.dataset.message ?? "";
  // What each act does to the number that waits, until the next pulse tells it exactly.
  // What changes more of a row than its status.
  const REPAINTED = ["message.changed", "approval.recorded", "verdict.taken_back"];
  const STEPS = { "message.held": 1, "decision.recorded": -1, "decision.undone": 1, "decision.refused": 1 };

  // The newest that the desk named last.
  let newest = [];
  function learn() {
    // What neither stands here nor is among the newest is new when it comes again.
    known.clear();
    newest = (list()?.dataset.newest ?? "").split(" ").filter(Boolean);
    newest.forEach((id) => known.add(id));
    all("#list .item").forEach((item) => known.add(item.dataset.message));
  }

  function showNews() {
    const bar = document.getElementById("new");
    if (!bar) return;
    bar.hidden = news.size === 0;
    // Whether a new one is what was asked for, only the desk can tell.
    const doubt = "narrows" in list().dataset ? ", not all may match" : "";
    bar.querySelector("[data-new]").textContent = `${news.size} new${doubt}`;
  }

  function arrive(id) {
    if (known.has(id) || news.has(id)) return;
    news.add(id);
    showNews();
    if (list()) say(`${news.size} more waiting`);
  }

  /* A tone is a colour and a shape; the word is always there. */
  function mark(item, { code, word, tone, detail = "", action = "" }) {
    const chip = item.querySelector("[data-chip]");
    const isHeld = code === HELD.code;
    const isBack = isHeld && (action === "decision.refused" || "again" in chip.dataset);
    const said = item.querySelector("[data-detail]");
    const words = isHeld ? "" : detail;
    const when = item.querySelector("[data-when]");
    if (isHeld) when.replaceChildren();
    else if (chip.textContent.trim() !== word || said.textContent !== words) when.replaceChildren(justNow());
    chip.textContent = isBack ? "Held again" : word;
    chip.className = `chip shape ${tone}`;
    chip.dataset.chip = code;
    chip.toggleAttribute("data-again", isBack);
    chip.hidden = isHeld && !isBack;
    // "1 of 2 approved" is of what waits.
    item.querySelector("[data-approvals]")?.toggleAttribute("hidden", !isHeld);
    said.textContent = words;
    // What was withdrawn and may still take effect waits for somebody as well.
    const waits = isHeld || ["may_be_sent", "may_be_rejected"].includes(code);
    item.classList.toggle("done", !waits && ["waiting", "mine"].includes(list().dataset.tab));
    fold();
  }

  /* Who goes on needs no row that is decided. One that is held again stands in its place again. */
  function fold(goesOn = false) {
    for (const item of all("#list .item")) {
      const place = item.closest("li");
      const isOver = item.matches(".done:not([aria-current])");
      const isFolded = place.toggleAttribute("data-folded", isOver && (goesOn || "folded" in place.dataset));
      if (isFolded && goesOn) place.querySelector(".pick:checked")?.click();
      place.hidden = isFolded && !isUnfolded;
    }
    const line = document.getElementById("folded");
    const number = all("#rows [data-folded]").length;
    if (!line) return;
    line.hidden = !number;
    const words = document.querySelector("#rows [data-folded] [data-chip=snoozed]") ? "decided or snoozed" : "decided";
    line.querySelector("span").textContent = `${number} ${words} · `;
    line.querySelector("button").textContent = isUnfolded ? "hide" : "show";
    emit("desk:folded");
  }

  /* One cursor: the row whose message is open, or is about to be. */
  function setCurrent(id) {
    all("#list .item[aria-current]").forEach((item) => item.removeAttribute("aria-current"));
    const item = row(id);
    item?.setAttribute("aria-current", "true");
    fold(id !== cursor);
    cursor = id;
    item?.scrollIntoView({ block: "nearest" });
    return item;
  }

  /* The content of a row has come: it is painted again where it stands. One question at a time, for all that wait for
     one; what is heard of a row while it is asked for may not be in the answer, and is asked for again. */
  async function repaint(id) {
    stale.add(id);
    if (asked.size) return;
    while (stale.size) {
      stale.forEach((one) => asked.add(one));
      stale.clear();
      const { url } = list().dataset;
      const page = await getPage(url).catch(() => null);
      if (page && list()?.dataset.url === url) paintRows(page);
      asked.clear();
    }
  }

  function paintRows(page) {
    const isHere = (id) => page.querySelector(`.item[data-message="${CSS.escape(id)}"]`);
    const open = openId();
    // The open message stands on what was the next page: the list goes on with it.
    if (open && !row(open) && isHere(open)) {
      if (stale.size) stale.add(open);
      else replace(document.getElementById("rows"), page.getElementById("rows"));
      return;
    }
    for (const id of asked) {
      const [fresh, old] = [isHere(id)?.closest("li"), row(id)?.closest("li")];
      if (fresh && old && !stale.has(id)) replace(old, fresh);
    }
  }

  function replace(old, fresh) {
    const focused = old.contains(document.activeElement) ? document.activeElement.dataset.message : "";
    const picked = all(".pick:checked", old).map((pick) => pick.value);
    old.replaceWith(fresh);
    all(".pick", fresh).forEach((pick) => {
      pick.checked = picked.includes(pick.value);
    });
    window.htmx.process(fresh);
    learn();
    setCurrent(cursor);
    if (focused) row(focused)?.focus();
  }

  /* The oldest come first, so what is new may stand on a later page. */
  function later(number, id) {
    const detail = {
      id: "later",
      tone: "blue",
      title: `${number} new on a later page`,
      text: "The oldest are first.",
      link: { href: `/queue/${id}/`, words: "Open the first of them", here: true },
    };
    emit("desk:note", detail);
  }

  function setTabs(counts) {
    for (const [tab, count] of Object.entries(counts ?? {})) {
      const place = document.querySelector(`.tabs [data-tab-of="${CSS.escape(tab)}"] [data-count]`);
      if (place) place.textContent = count === "0" ? "" : count;
    }
  }

  /* What is open may stand on the next page of the list by now, or wait again. */
  function find(id) {
    if (list() && id && !row(id)) repaint(id);
  }

  /* Where somebody was in this very list, for when they come back to it: the row, and how far it was scrolled. */
  function keepPlace() {
    const item = document.activeElement?.closest?.("#list .item") ??
      document.querySelector("#list .item[aria-current]");
    if (!list() || !item) return;
    const place = { url: list().dataset.url, id: item.dataset.message, top: scroller().scrollTop };
    try {
      sessionStorage.setItem(PLACE, JSON.stringify(place));
    } catch { /* without a store, back leads to the top */ }
  }

  function returnToPlace() {
    if (document.querySelector("#list .item[aria-current]") || location.hash) return;
    let place = null;
    try {
      place = JSON.parse(sessionStorage.getItem(PLACE) ?? "null");
    } catch { /* nothing was kept */ }
    if (!list() || place?.url !== list().dataset.url || !row(place.id)) return;
    scroller().scrollTop = place.top;
    row(place.id).focus({ preventScroll: true });
    row(place.id).scrollIntoView({ block: "nearest" });
  }

  function scroller() {
    const rows = document.getElementById("rows");
    return getComputedStyle(rows).overflowY === "visible" ? document.scrollingElement : rows;
  }

  function setWaiting(number) {
    const text = number.toLocaleString("en");
    all("[data-waiting]").forEach((place) => {
      place.textContent = place.closest(".rail") && !number ? "" : text;
    });
    document.querySelector("[data-oldest]")?.toggleAttribute("hidden", !number);
    const title = document.title.replace(/^\([\d,]+\+?\) /, "");
    document.title = number ? `(${text}) ${title}` : title;
  }

  function step(by) {
    const shown = document.querySelector("[data-waiting]")?.textContent ?? "";
    if (!shown.includes("+")) setWaiting(Math.max(0, Number(shown.replaceAll(",", "") || 0) + by));
  }

  function setFresh({ level, as_of: asOf, reason }) {
    const fresh = document.getElementById("fresh");
    if (!fresh) return;
    fresh.dataset.level = level;
    fresh.title = reason || "Everything that MultiMail held at this time is in the queue.";
    fresh.querySelector(".dot").className = `dot ${level}`;
    fresh.querySelector(".why").textContent = reason;
    const stale = document.getElementById("stale");
    if (stale) {
      stale.hidden = level !== "red";
      stale.querySelector("[data-reason]").textContent = reason;
    }
    const behind = document.getElementById("behind");
    behind.dataset.level = level;
    behind.querySelector(".dot").className = `dot ${level}`;
    behind.querySelector("[data-reason]").textContent = reason;
    for (const line of all(".as-of")) {
      const lead = document.createElement("span");
      Object.assign(lead, { className: asOf ? "lead" : "", textContent: asOf ? "Up to date " : "Not read yet" });
      line.replaceChildren(lead, ...(asOf ? [timeOf(asOf)] : []));
    }
  }

  /* A page that hears nothing must not stay green by that. */
  function doubt() {
    const minutes = Math.floor((performance.now() - heard) / 60000);
    if (document.hidden || minutes < 2) return;
    const reason = `This page has had no contact with the desk for ${minutes} minutes.`;
    setFresh({
      level: minutes < 10 ? "amber" : "red",
      as_of: document.querySelector(".as-of time")?.dateTime ?? null,
      reason,
    });
  }

  function timeOf(at) {
    const time = document.createElement("time");
    // How far the person's clock is from UTC, in minutes, and what it is called.
    const [minutes, zone] = (document.body.dataset.zone ?? "0 UTC").split(" ");
    const local = new Date(+new Date(at) + minutes * 60000).toISOString();
    const said = `${local.slice(11, 19)} ${zone}`;
    Object.assign(time, {
      dateTime: new Date(at).toISOString(),
      title: `${local.slice(0, 10)} ${said}`,
      textContent: said,
    });
    return time;
  }

  function justNow() {
    const time = timeOf(Date.now());
    time.dataset.live = "ago";
    time.textContent = "just now";
    return time;
  }

  function ages() {
    const now = Date.now();
    for (const time of all("time[data-live]")) {
      const seconds = Math.abs(now - Date.parse(time.dateTime)) / 1000;
      const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([length]) => seconds >= length) ?? [0, ""];
      const words = size
        ? `${Math.floor(seconds / size)} ${unit}`
        : { lasting: "under a minute" }[time.dataset.live] ?? "just now";
      time.textContent = size && time.dataset.live === "ago" ? `${words} ago` : words;
    }
  }

  document.addEventListener("desk:hint", ({ detail: hint }) => {
    if (hint.kind === "standing") {
      emit("desk:ask-pulse");
      return;
    }
    if (hint.action === "message.opened" || hint.action === "message.served") return;
    const item = row(hint.message);
    const isNew = hint.kind === "new" && !known.has(hint.message) && !news.has(hint.message);
    if (hint.kind === "new") arrive(hint.message);
    else if (hint.code !== HELD.code && news.delete(hint.message)) showNews();
    // What becomes of the open message is shown with all that is said of it there.
    // An approval that waits for others leaves the status as it is.
    const isMarked = hint.message !== openId() || hint.kind === "new";
    if (item && isMarked && hint.action !== "approval.recorded") mark(item, hint);
    const isStale = asked.size || REPAINTED.includes(hint.action) || item?.hasAttribute("data-fetching");
    if (item && isStale) repaint(hint.message);
    if (hint.kind !== "new" || isNew) step(STEPS[hint.action] ?? 0);
    emit("desk:ask-pulse");
  });
  document.addEventListener("visibilitychange", () => {
    heard = performance.now();
  });
  document.addEventListener("desk:pulse", ({ detail: pulse }) => {
    heard = performance.now();
    if (list()) {
      // What follows those named before moved up because others left: it is not new.
      const end = pulse.newest.findLastIndex((id) => newest.includes(id));
      if (end >= 0 && pulse.newest.length <= newest.length) {
        pulse.newest.slice(end + 1).forEach((id) => known.add(id));
      }
      pulse.newest.forEach(arrive);
      newest = pulse.newest;
    }
    setWaiting(pulse.waiting);
    setTabs(pulse.tabs);
    setFresh(pulse.freshness);
  });
  document.addEventListener("desk:painted", ({ detail: { id, ...status } }) => {
    // An earlier message may be painted after the next row was pressed: the cursor stays on that row.
    if (pressed === id) pressed = "";
    const item = pressed ? row(id) : setCurrent(id);
    if (item) mark(item, status);
    // While a verdict is on its way the desk would still list what it is about.
    else if (id !== lost && !document.querySelector("[data-deciding]")) find(id);
    lost = item ? "" : id;
  });
  document.addEventListener("desk:recorded", () => find(openId()));
  // What was decided a moment ago is not the message on screen any more.
  document.addEventListener("desk:status", ({ detail: { id, ...status } }) => {
    if (row(id)) mark(row(id), status);
  });
  document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    if (elt.id !== "list") return;
    learn();
    setCurrent(cursor);
    const fresh = [...news].map(row).filter(Boolean);
    fresh.forEach((item) => item.classList.add("is-new"));
    (fresh[0] ?? list()).focus();
    fresh[0]?.scrollIntoView({ block: "nearest" });
    const [further] = [...news].filter((id) => !row(id));
    if (further) later(news.size - fresh.length, further);
    news.clear();
    showNews();
  });
  // A menu is over once something else is looked at.
  const menus = () => all("#list .menu[open]");
  document.addEventListener("click", ({ target }) =>
    menus().forEach((menu) => {
      if (!menu.contains(target)) menu.open = false;
    }));
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest?.("#list .menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  // An address says what was asked for, and nothing of what was not.
  document.addEventListener("submit", ({ target }) => {
    if (target.id === "search") {
      [...target.elements].forEach((field) => {
        field.disabled ||= Boolean(field.name) && !field.value;
      });
    }
  });
  window.addEventListener("pageshow", () =>
    all("#search :disabled, [form=search]:disabled").forEach((field) => {
      field.disabled = false;
    }));
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("#list .item")) keepPlace();
  }, true);
  document.addEventListener("click", ({ target, defaultPrevented }) => {
    const item = target.closest?.("#list .item");
    if (item && defaultPrevented) {
      pressed = item.dataset.message;
      setCurrent(pressed);
    }
    if (!target.closest?.("#folded button")) return;
    isUnfolded = !isUnfolded;
    fold();
  });
  /* The styles and scripts of an open message come with the first one that is opened here. Where they cannot be had,
     its page is opened whole. */
  let opening = null;
  function fetchParts(places) {
    const files = places.flatMap(({ content }) => [...content.children]).map((file) => file.cloneNode());
    const loaded = files.map((file) =>
      new Promise((resolve, reject) => {
        file.addEventListener("load", resolve);
        file.addEventListener("error", reject);
      })
    );
    // In the order in which they stand here.
    files.forEach((file) => Object.assign(file, { async: false }));
    document.head.append(...files);
    return Promise.all(loaded).then(() => places.forEach((place) => place.remove()));
  }

  document.addEventListener("htmx:confirm", (event) => {
    const { target, path, issueRequest } = event.detail;
    const places = all("template[data-with-message]");
    if (target?.id !== "message" || !places.length) return;
    event.preventDefault();
    opening ??= fetchParts(places);
    opening.then(() => issueRequest(true), () => location.assign(path));
  });
  // Where it did not open, the cursor goes back. A request that a later press replaced says nothing about that press.
  document.addEventListener("htmx:afterRequest", ({ detail: { elt, successful } }) => {
    if (!elt.matches("#list .item") || elt.dataset.message !== pressed) return;
    pressed = "";
    if (!successful) setCurrent(openId());
  });
  window.addEventListener("pagehide", keepPlace);

  learn();
  returnToPlace();
  if (list()) setCurrent(openId());
  setInterval(ages, 20000);
  setInterval(doubt, 20000);
})();

/* The queue as a list: what is new gathers in a bar; what was decided is marked in place, and folds into one line once
   somebody goes on. No row moves by itself, and the row of the open message is in view. Messages are selected here, to
   decide them at once; a list that comes anew keeps the ticks (hx-preserve). Also lets the times of pages age. */
const { HELD, all, byId, emit, find, getPage, note, on, onKey, onLoad, onPress } = window.desk;
const { openId, refuse, replace, row, say } = window.desk;
const PLACE = "countersign-place";
// Of one decision several hints come.
const GATHER_MS = 120;
const news = new Set();
const stale = new Set();
let cursor = "";
// The row that was pressed, until its message has come.
let pressed = "";
let lost = "";
let isUnfolded = false;
let isAsking = false;
// The message that was selected last.
let picked = null;
const list = () => byId("list");
const items = () => all("#list .item");
const current = () => find("#list .item[aria-current]");
const picks = () => all("#list li:not([hidden]) .pick");

/* Those that the desk named last as the newest, on this page or on a later one. */
const newest = () => (list()?.dataset.newest ?? "").split(" ").filter(Boolean);

function showNews() {
  const bar = byId("new");
  if (!bar) return;
  bar.hidden = news.size === 0;
  bar.querySelector("[data-new]").textContent = news.size;
}

function arrive(id) {
  if (row(id) || newest().includes(id) || news.has(id)) return;
  news.add(id);
  showNews();
  if (list()) say(`${news.size} more waiting`);
}

/* Who goes on needs no row that is decided. One that is held again stands in its place again. */
function fold(goesOn = false) {
  for (const item of items()) {
    const place = item.closest("li");
    const isOver = item.matches(".done:not([aria-current])");
    const isFolded = place.toggleAttribute("data-folded", isOver && (goesOn || "folded" in place.dataset));
    if (isFolded && goesOn) place.querySelector(".pick:checked")?.click();
    place.hidden = isFolded && !isUnfolded;
  }
  showPicked();
  const line = byId("folded");
  if (!line) return;
  const number = all("#rows [data-folded]").length;
  line.hidden = !number;
  line.querySelector("[data-folds]").textContent = number;
  line.querySelector("[data-or]").hidden = !find("#rows [data-folded] [data-snoozed]");
  line.querySelector("button").textContent = isUnfolded ? "hide" : "show";
}

/* One cursor: the row whose message is open, or is about to be. */
function setCurrent(id) {
  current()?.removeAttribute("aria-current");
  const item = row(id);
  item?.setAttribute("aria-current", "true");
  fold(id !== cursor);
  cursor = id;
  item?.scrollIntoView({ block: "nearest" });
  return item;
}

/* What was pressed is seen before the desk has answered. */
function press(item, word) {
  item.before = item.cloneNode(true);
  item.dataset.pressed = "";
  item.classList.toggle("done", ["waiting", "mine"].includes(list().dataset.tab));
  const chip = item.querySelector("[data-chip]");
  Object.assign(chip, { textContent: word, className: "chip shape blue", hidden: false });
  // Of no status: whatever becomes of it, the row is drawn again.
  chip.dataset.chip = "";
  fold();
}

/* The desk draws the rows. Those that something was said of are asked for together; what is heard meanwhile may not
   be in the answer, and is asked for after it. */
async function repaint(id, code = HELD) {
  // What is folded is asked for when it is unfolded, or waits again.
  if (row(id) && (code === HELD || !row(id).closest("li").hidden)) stale.add(id);
  if (isAsking) return;
  isAsking = true;
  while (stale.size) {
    await new Promise((done) => setTimeout(done, GATHER_MS));
    const ids = [...stale];
    stale.clear();
    const { rows, url } = list().dataset;
    const query = new URLSearchParams(url.split("?")[1]);
    ids.forEach((one) => query.append("id", one));
    const page = await getPage(`${rows}?${query}`);
    for (const one of ids) {
      const fresh = page?.querySelector(`.item[data-message="${CSS.escape(one)}"]`);
      // A row whose message is being opened stays until that is here.
      if (row(one)?.matches(".htmx-request")) stale.add(one);
      else if (fresh && row(one) && !stale.has(one) && !("pressed" in row(one).dataset)) redraw(row(one), fresh);
    }
  }
  isAsking = false;
}

function redraw(old, fresh) {
  fresh.removeAttribute("aria-current");
  if (fresh.dataset.message === cursor) fresh.setAttribute("aria-current", "true");
  replace(old, fresh);
  fold();
}

/* The open message stands on what was the next page, or waits again: the list goes on with it. */
async function goOn(id) {
  if (!list() || !id || row(id)) return;
  const { url } = list().dataset;
  const page = await getPage(url);
  if (list()?.dataset.url !== url || !page?.querySelector(`.item[data-message="${CSS.escape(id)}"]`)) return;
  replace(byId("rows"), page.getElementById("rows"));
  setCurrent(cursor);
}

/* Where somebody was in this very list, for when they come back to it: the row, and how far it was scrolled. */
function keepPlace() {
  const item = document.activeElement?.closest?.("#list .item") ?? current();
  if (!item) return;
  const place = { url: list().dataset.url, id: item.dataset.message, top: scroller().scrollTop };
  sessionStorage[PLACE] = JSON.stringify(place);
}

function returnToPlace() {
  const { url, id, top } = JSON.parse(sessionStorage[PLACE] ?? "{}");
  if (current() || location.hash || url !== list().dataset.url || !row(id)) return;
  scroller().scrollTop = top;
  row(id).focus({ preventScroll: true });
  row(id).scrollIntoView({ block: "nearest" });
}

function scroller() {
  const rows = byId("rows");
  return getComputedStyle(rows).overflowY === "visible" ? document.scrollingElement : rows;
}

function ages() {
  for (const time of all("time[data-live]")) {
    const seconds = Math.abs(Date.now() - Date.parse(time.dateTime)) / 1000;
    const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([length]) => seconds >= length) ?? [0, ""];
    const young = time.dataset.live === "lasting" ? "under a minute" : "just now";
    const words = size ? `${Math.floor(seconds / size)} ${unit}` : young;
    time.textContent = size && time.dataset.live === "ago" ? `${words} ago` : words;
  }
}

on("desk:hint", ({ kind, message, code }) => {
  emit("desk:ask-pulse");
  if (kind === "standing") return;
  if (kind === "new") arrive(message);
  else if (code !== HELD && news.delete(message)) showNews();
  repaint(message, code);
});
on("desk:pulse", (pulse) => {
  if (!list()) return;
  // What follows those named before moved up because others left: it is not new.
  const end = pulse.newest.findLastIndex((id) => newest().includes(id));
  const isFull = end >= 0 && pulse.newest.length <= newest().length;
  pulse.newest.slice(0, isFull ? end : undefined).forEach(arrive);
  list().dataset.newest = pulse.newest.join(" ");
});
on("desk:painted", ({ id, code }) => {
  // An earlier message may be painted after the next row was pressed: the cursor stays on that row.
  if (pressed === id) pressed = "";
  const item = pressed ? row(id) : setCurrent(id);
  if (item && item.querySelector("[data-chip]").dataset.chip !== code) repaint(id);
  // While a verdict is on its way the desk would still list what it is about.
  else if (!item && id !== lost && !find("[data-deciding]")) goOn(id);
  lost = item ? "" : id;
});
on("desk:recorded", () => goOn(openId()));
/* Something is said of a row: a word for what was pressed, or that it came to nothing; else the desk knows. */
on("desk:row", ({ id, code, word, isBack }) => {
  const item = row(id);
  if (!item) return;
  if (word) return press(item, word);
  delete item.dataset.pressed;
  if (isBack && item.before) redraw(item, item.before);
  item.before = null;
  repaint(id, code);
});
onLoad("list", () => {
  setCurrent(cursor);
  const fresh = [...news].map(row).filter(Boolean);
  fresh.forEach((item) => item.classList.add("is-new"));
  (fresh[0] ?? list()).focus();
  fresh[0]?.scrollIntoView({ block: "nearest" });
  // The oldest come first, so what is new may stand on a later page.
  const [later] = [...news].filter((id) => !row(id));
  if (later) {
    const link = { href: `/queue/${later}/`, words: "Open the first of them" };
    const title = `${news.size - fresh.length} new on a later page`;
    note({ id: "later", tone: "blue", title, text: "The oldest are first.", link });
  }
  news.clear();
  showNews();
});
// A menu is over once something else is looked at.
document.addEventListener("click", ({ target }) => {
  for (const menu of all(":is(.menu, #snooze)[open]")) if (!menu.contains(target)) menu.open = false;
});
// An address says what was asked for, and nothing of what was not.
document.addEventListener("formdata", ({ target, formData }) => {
  if (!["search", "filter"].includes(target.id)) return;
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
});
document.addEventListener("click", (event) => {
  const item = event.target.closest?.("#list .item");
  if (!item) return;
  keepPlace();
  if (item.dataset.message !== openId() || pressed) return;
  // To open it again would take away what was pressed meanwhile.
  event.preventDefault();
  event.stopPropagation();
  byId("subject").focus();
}, true);
onPress("#list .item", (item, { defaultPrevented }) => {
  if (!defaultPrevented) return;
  pressed = item.dataset.message;
  setCurrent(pressed);
});
onPress("#folded button", () => {
  isUnfolded = !isUnfolded;
  fold();
  all("#rows [data-folded] .item").forEach(({ dataset }) => repaint(dataset.message));
});
// Where it did not open, the cursor goes back. A request that a later press replaced says nothing about that press.
on("htmx:afterRequest", ({ elt, successful }) => {
  if (!elt.matches("#list .item") || elt.dataset.message !== pressed) return;
  pressed = "";
  if (!successful) setCurrent(openId());
});
addEventListener("pagehide", keepPlace);

/* How many are selected; the page shows it as well. */
function showPicked() {
  const rows = picks();
  const number = rows.filter((pick) => pick.checked).length;
  for (const place of all("#list [data-picked]")) place.textContent = number;
  for (const place of all("#list [data-pickable]")) place.textContent = rows.length;
  const isAll = number > 0 && number === rows.length;
  if (byId("pick-all")) Object.assign(byId("pick-all"), { checked: isAll, indeterminate: number > 0 && !isAll });
  return number;
}

/* The tick that a key means: where the focus is, in the list or on the sheet, else of the row that is open. */
function pickHere() {
  const place = document.activeElement?.closest?.("#rows li, .one") ?? current()?.closest("li");
  return place?.querySelector(".pick, .tick");
}

function pickUpTo(pick) {
  const rows = picks();
  const to = rows.indexOf(pick);
  if (to < 0) return refuse();
  const begun = rows.findIndex((one) => one.value === picked);
  const from = begun < 0 ? to : begun;
  for (const one of rows.slice(Math.min(from, to), Math.max(from, to) + 1)) one.checked = true;
  picked = pick.value;
  say(`${showPicked()} selected`);
}

document.addEventListener("click", ({ shiftKey, target }) => {
  if (target.id === "pick-all") { for (const pick of picks()) pick.checked = target.checked; }
  else if (!target.matches?.("#list .pick")) return;
  // With Shift, as in every list: all from the last one to this one.
  else if (shiftKey && picked) return pickUpTo(target);
  else picked = target.value;
  showPicked();
});
document.addEventListener("reset", ({ target }) => {
  // The form has fields named `id`, so its own property `id` is those fields.
  if (!target.matches("#bulk")) return;
  picked = null;
  setTimeout(() => {
    showPicked();
    (current() ?? items()[0])?.focus();
  });
});
onKey("select", () => {
  const pick = pickHere();
  if (!pick) return refuse();
  pick.click();
  if (pick.matches(".pick")) say(`${pick.checked ? "Selected" : "No longer selected"}, ${showPicked()} in all`);
});
onKey("select-range", () => pickUpTo(pickHere()));
onKey("bulk", () => {
  // The sheet of several has its own.
  if (byId("together")) return;
  if (!byId("bulk")) refuse();
  else if (picks().some((pick) => pick.checked)) byId("bulk").requestSubmit();
  else refuse("Nothing is selected. Press X to select the current message.");
});

/* Where there is room beside the list, its first message opens itself; the way back does not lead over this page. */
function openFirst() {
  const first = row(document.activeElement?.dataset.message ?? "") ?? items()[0];
  // For whoever decides, and where nothing else is to be seen.
  const isFree = byId("bulk") && !find("#message[data-message], #decided");
  if (!first || !isFree || location.hash || !matchMedia("(min-width: 901px)").matches) return;
  document.body.dataset.unasked = first.dataset.message;
  first.click();
}
on("htmx:beforeHistoryUpdate", ({ history }) => {
  if (history.path.includes(`/${document.body.dataset.unasked}/`)) history.type = "replace";
});

if (list()) {
  returnToPlace();
  setCurrent(openId());
  document.addEventListener("htmx:load", openFirst, { once: true });
}
setInterval(ages, 20000);

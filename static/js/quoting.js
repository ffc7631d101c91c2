/* Loaded when words of a message are selected, or a comment is begun: offers to quote the words in a request for
   changes, and completes names after @. Without it the words are pasted, and names typed. */
const { emit, getPage, say } = window.desk;
const MOST = 500;
const GAP = 8;
// Where words of the message are text of the desk's own: nobody can know what is selected in the message's frame.
const TEXTS = "#sheet pre.face.text, #subject";
const byId = (id) => document.getElementById(id);
const form = () => byId("comment-form");

const style = document.createElement("link");
Object.assign(style, { rel: "stylesheet", href: form().dataset.style });
await new Promise((done) => {
  style.onload = style.onerror = done;
  document.head.append(style);
});

/* --- Selected words --- */
let bar = null;
let words = "";
let isPressed = false;

function selection() {
  const all = getSelection();
  if (!all.rangeCount || all.isCollapsed) return null;
  const range = all.getRangeAt(0).cloneRange();
  const { startContainer: start } = range;
  const text = (start.nodeType === Node.ELEMENT_NODE ? start : start.parentElement).closest(TEXTS);
  if (!text) return null;
  if (!text.contains(range.endContainer)) range.setEnd(text, text.childNodes.length);
  return range.toString().trim() ? range : null;
}

function button(text, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "btn", textContent: text });
  made.addEventListener("click", act);
  return made;
}

function makeBar() {
  bar = document.createElement("div");
  bar.className = "quote-bar";
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Selected words");
  bar.append(
    button("Request changes", () => emit("desk:why", byId("send-back"))),
    document.createElement("p"),
  );
  // A press must not take the selection away.
  bar.addEventListener("pointerdown", (event) => event.preventDefault());
  document.querySelector("main").append(bar);
}

function show() {
  const range = isPressed || !byId("send-back") ? null : selection();
  words = range?.toString().trim() ?? "";
  if (!range) return bar?.toggleAttribute("hidden", true);
  if (!bar?.isConnected) makeBar();
  const isLong = words.length > MOST;
  const [change, note] = bar.children;
  change.hidden = isLong;
  note.textContent = isLong ? `Select ${MOST} characters at most.` : "";
  if (bar.hidden || !bar.dataset.shown) say(note.textContent || "The selected words can be quoted.");
  Object.assign(bar, { hidden: false }).dataset.shown = "";
  place(range.getBoundingClientRect());
}

/* Below the words, or above them where there is no room; what the bar is placed in may be moved itself. */
function place(around) {
  Object.assign(bar.style, { left: "0", top: "0" });
  const own = bar.getBoundingClientRect();
  const lowest = (byId("decide")?.getBoundingClientRect().top ?? innerHeight) - own.height - GAP;
  const below = Math.min(around.bottom, innerHeight) + GAP;
  const top = below <= lowest ? below : Math.min(lowest, around.top - own.height - GAP);
  const left = Math.min(Math.max(GAP, around.left), innerWidth - own.width - GAP);
  bar.style.left = `${left - own.left}px`;
  bar.style.top = `${Math.max(GAP, top) - own.top}px`;
}

// Pressed here or by its key, with words selected: they are quoted.
document.addEventListener("desk:why", ({ detail }) => {
  const field = detail.id === "send-back" && byId("send_back-passage");
  if (!field || !words || words.length > MOST) return;
  field.closest("details").open = true;
  field.value = words;
  getSelection().removeAllRanges();
});

document.addEventListener("pointerdown", ({ target }) => {
  if (bar?.contains(target)) return;
  isPressed = true;
  show();
});
for (const name of ["pointerup", "pointercancel"]) {
  document.addEventListener(name, () => {
    isPressed = false;
    requestAnimationFrame(show);
  });
}
document.addEventListener("selectionchange", show);
document.addEventListener("scroll", () => bar && !bar.hidden && show(), { capture: true, passive: true });
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && bar && !bar.hidden) getSelection().removeAllRanges();
});

/* --- Names after @ --- */
const BEGUN = /(?<![\p{L}\p{N}_.@+-])@([\p{L}\p{N}_][^\n@]{0,60})?$/u;
let list = null;
let active = 0;
let asked = 0;
// What the names are offered for.
let offered = "";
// What begins like this names nobody.
let none = null;
let timer = 0;

const typed = (field) => BEGUN.exec(field.value.slice(0, field.selectionStart));
const isCurrent = (field) => typed(field)?.[0] === `@${offered}`;

function close() {
  asked += 1;
  list?.remove();
  list = null;
  for (const name of ["aria-controls", "aria-activedescendant"]) byId("comment-text")?.removeAttribute(name);
}

function activate(number) {
  active = (number + list.children.length) % list.children.length;
  [...list.children].forEach((one, place) => one.setAttribute("aria-selected", String(place === active)));
  byId("comment-text").setAttribute("aria-activedescendant", list.children[active].id);
  list.children[active].scrollIntoView({ block: "nearest" });
}

async function offer(field) {
  const begun = typed(field);
  if (!begun) none = null;
  const name = begun?.[1] ?? "";
  if (!begun || (none !== null && name.startsWith(none))) return close();
  asked += 1;
  const ask = asked;
  const page = await getPage(`${form().dataset.people}?q=${encodeURIComponent(name)}`).catch(() => null);
  if (ask !== asked || document.activeElement !== field) return;
  const fresh = page?.getElementById("mentions");
  none = fresh?.children.length ? null : name;
  if (!fresh?.children.length) return close();
  const isNew = !list;
  list?.remove();
  [list, offered] = [fresh, name];
  field.after(list);
  list.style.top = `${field.offsetTop + field.offsetHeight}px`;
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", "mentions");
  activate(0);
  if (isNew) say(`${list.children.length} ${list.children.length === 1 ? "name" : "names"}. Enter takes one.`);
}

function choose(option) {
  const field = byId("comment-text");
  if (!isCurrent(field)) return close();
  const end = field.selectionStart;
  const start = end - typed(field)[0].length;
  none = `${option.dataset.name} `;
  field.setRangeText(`@${none}`, start, end, "end");
  close();
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

const KEYS = {
  ArrowDown: () => activate(active + 1),
  ArrowUp: () => activate(active - 1),
  Enter: () => choose(list.children[active]),
  Tab: () => choose(list.children[active]),
  Escape: close,
};

// Before the keys of the page.
window.addEventListener("keydown", (event) => {
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey && !event.isComposing;
  if (!list?.isConnected || event.target.id !== "comment-text" || !isPlain || !KEYS[event.key]) return;
  if (!isCurrent(event.target)) return close();
  event.preventDefault();
  event.stopPropagation();
  KEYS[event.key]();
}, true);
document.addEventListener("pointerdown", (event) => {
  const option = event.target.closest?.("#mentions [role=option]");
  if (!option) return;
  event.preventDefault();
  choose(option);
});

function begin({ target }) {
  if (target?.id !== "comment-text") return;
  clearTimeout(timer);
  asked += 1;
  timer = setTimeout(offer, 80, target);
}
document.addEventListener("input", begin);
document.addEventListener("focusout", ({ target }) => target.id === "comment-text" && list && close());
begin({ target: document.activeElement });
show();

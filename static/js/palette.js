/* The command palette, loaded when it is first asked for: every page and act that the desk lists for this person, and
   the buttons of the message that is open, found by a few letters. An act presses the same button as a hand would. */
const { all, emit, getPage, say } = window.desk;
const MOST = 60;
// Where the buttons of the open message stand, what matters most first; and one of every page, which comes last.
const ACTS = ["#just .btn", "#decide :is(.btn, summary)", "#message-bar .btn", "#sheet .tab"];
const LAST = [".me button"];
let ready = null;
let dialog = null;
let places = [];
let acts = [];
let last = [];
let shown = [];
let active = 0;
let about = "";

const input = () => dialog.querySelector("#palette-typed");
const list = () => dialog.querySelector("#palette-list");
const isVisible = (element) => element.checkVisibility() && !element.disabled && !element.closest("[inert]");
/* What is open, and in which version: a button is pressed only while it is about that. */
const current = () => {
  const { message = "", fingerprint = "" } = document.getElementById("message")?.dataset ?? {};
  const decided = document.getElementById("decided")?.dataset.message ?? "";
  return `${message} ${fingerprint} ${decided}`;
};

/* The same spelling as common.words: without accents, case and signs. */
function spelled(text) {
  const plain = text.normalize("NFKD").replace(/[\p{Mn}\p{Cf}]/gu, "").toLowerCase();
  return plain.replace(/[^\p{L}\p{N}_]+/gu, " ").trim();
}

/* How well an entry fits what was typed, as dashboard.frame.palette ranks it; null where it does not. */
function rank(entry, typed) {
  const { label, more } = entry.dataset;
  if (label.startsWith(typed)) return [0, label.length];
  if (label.includes(` ${typed}`)) return [1, label.indexOf(` ${typed}`)];
  const words = typed.split(" ");
  for (const [place, text] of [[2, label], [3, more]]) {
    if (words.every((word) => ` ${text}`.includes(` ${word}`))) return [place, 0];
  }
  if (label.includes(typed)) return [4, label.indexOf(typed)];
  const span = spanOf(label, typed.replaceAll(" ", ""));
  return span === null ? null : [5, span];
}

function spanOf(label, letters) {
  let least = null;
  for (let start = 0; start < label.length; start += 1) {
    if (label[start] !== letters[0] || (start && label[start - 1] !== " ")) continue;
    let place = start;
    for (const letter of letters.slice(1)) {
      place = label.indexOf(letter, place + 1);
      if (place < 0) break;
    }
    if (place >= 0 && (least === null || place - start < least)) least = place - start;
  }
  return least !== null && least <= 4 * letters.length ? least : null;
}

/* What a button says, without its key and what only pictures say. */
function wordsOf(button) {
  const copy = button.cloneNode(true);
  copy.querySelectorAll("kbd, svg").forEach((one) => one.remove());
  return copy.textContent.replace(/\s+/g, " ").trim();
}

/* What it is about: the message that was decided a moment ago also has an Undo. */
function kindOf(button) {
  if (button.closest("#just")) return "Just decided";
  if (button.matches(".tab")) return "View";
  return button.closest("#message") ? "This message" : "Action";
}

const buttons = (places) =>
  places.flatMap((place) => all(place)).filter(isVisible).map((button) => {
    const [words, kind] = [wordsOf(button), kindOf(button)];
    return { button, words, kind, act: `${kind}: ${words}` };
  });

function entryOf({ button, words, kind, act }) {
  const entry = document.createElement("div");
  entry.setAttribute("role", "option");
  Object.assign(entry.dataset, { label: spelled(words), more: spelled(`${words} ${kind}`), act });
  const parts = [["clip", words], ["faint small", kind]].map(([className, textContent]) =>
    Object.assign(document.createElement("span"), { className, textContent })
  );
  const key = button.querySelector("kbd")?.cloneNode(true);
  entry.append(...parts, ...(key ? [key] : []));
  return entry;
}

function render() {
  const typed = spelled(input().value);
  const ranked = [...acts, ...places, ...last].map((entry) => ({ entry, at: typed ? rank(entry, typed) : [0, 0] }));
  const found = ranked.filter(({ at }) => at);
  found.sort((one, other) => one.at[0] - other.at[0] || one.at[1] - other.at[1]);
  shown = found.slice(0, MOST).map(({ entry }) => entry);
  shown.forEach((entry, number) => {
    entry.id = `palette-${number}`;
  });
  list().replaceChildren(...shown);
  const none = dialog.querySelector("#palette-none");
  none.textContent = shown.length ? "" : `No results for “${input().value.trim()}”`;
  // Before anything was typed or chosen, Enter does nothing.
  activate(typed ? 0 : -1);
}

function activate(number) {
  active = number;
  const entry = shown[active];
  shown.forEach((one) => one.setAttribute("aria-selected", String(one === entry)));
  if (!entry) return input().removeAttribute("aria-activedescendant");
  input().setAttribute("aria-activedescendant", entry.id);
  entry.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const next = active < 0 && by < 0 ? -1 : active + by;
  if (shown.length) activate((next + shown.length) % shown.length);
}

function choose(entry) {
  if (!entry) return;
  dialog.close();
  if (entry.href) return location.assign(entry.href);
  const found = current() === about && buttons([...ACTS, ...LAST]).find(({ act }) => act === entry.dataset.act);
  if (!found) return say("The message changed. Review it again.");
  if (found.button.dataset.key) emit("desk:press", found.button);
  else found.button.click();
}

function onKey(event) {
  if (event.isComposing || event.keyCode === 229) return;
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key === "Enter" && event.target === input()) choose(shown[active]);
  else if (steps[event.key]) step(steps[event.key]);
  else if (event.key === "k" && (event.ctrlKey || event.metaKey)) dialog.close();
  else return;
  event.preventDefault();
}

async function load(address) {
  const page = await getPage(address);
  dialog = page?.getElementById("palette") ?? null;
  if (!dialog) return;
  places = [...dialog.querySelectorAll("[role=option]")];
  const styles = new Promise((resolve) => {
    for (const name of ["load", "error"]) dialog.querySelector("link").addEventListener(name, resolve, { once: true });
  });
  document.body.append(dialog);
  dialog.addEventListener("keydown", onKey);
  dialog.addEventListener("input", render);
  dialog.addEventListener("click", (event) => {
    const entry = event.target.closest("[role=option]");
    if (entry && (event.ctrlKey || event.metaKey)) return;
    if (entry) event.preventDefault();
    if (entry) choose(entry);
    else if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
  });
  // What had the focus may have been painted again meanwhile.
  dialog.addEventListener("close", () => {
    if (document.activeElement === document.body) document.getElementById("message")?.focus({ preventScroll: true });
  });
  await styles;
}

/* Open it; where it cannot be had, its page stands for it. */
export async function open(address) {
  ready ??= load(address);
  await ready.catch(() => null);
  if (!dialog) return location.assign(address);
  if (document.querySelector("dialog[open]")) return;
  about = current();
  acts = buttons(ACTS).map(entryOf);
  last = buttons(LAST).map(entryOf);
  input().value = "";
  dialog.showModal();
  render();
}

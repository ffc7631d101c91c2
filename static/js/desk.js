/* What several scripts of the desk need: its events, requests to it, and the pages that it answers with. */
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
/* The message that is open, and its id; without one the pane is there and has no id. */
const pane = () => byId("message");
const openId = () => pane()?.dataset.message ?? "";
/* The row of a message in the list. */
const row = (id) => document.querySelector(`#list .item[data-message="${CSS.escape(id)}"]`);
const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
/* Listen to an event of the desk or of htmx, by what it tells; or to the coming of a part of the page. */
const on = (name, listener) => document.addEventListener(name, ({ detail }) => listener(detail));
const onLoad = (id, listener) => on("htmx:load", ({ elt }) => elt.id === id && listener(elt));
/* Listen to presses of what is in the page now or later. */
const onPress = (selector, listener) =>
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.(selector);
    if (pressed) listener(pressed, event);
  });
const say = (text) => emit("desk:say", { text });
/* Why a key or press did nothing: seen by everybody, and heard. */
const refuse = (text) => emit("desk:say", { text, isSeen: true });
/* What went wrong between page and desk: a whole page from this address in place of a part, or no answer. */
const trouble = (url, text) => emit("desk:trouble", { url, text });
/* What a key wants of whoever draws its button. */
const askFor = (act, value) => emit("desk:key", { act, value });
const onKey = (act, listener) => on("desk:key", (wanted) => wanted.act === act && listener(wanted.value));
// What a message is again once a decision of it has come to nothing.
const HELD = "held";
const isPage = (text) => /^\s*<!doctype/i.test(text);
const isSignIn = (url) => Boolean(url) && new URL(url, location.href).pathname === document.body.dataset.signIn;
const parse = (text) => new DOMParser().parseFromString(text, "text/html");

/* What the desk itself wrote into a field is no loss; what it handed back after a refusal was typed by somebody. */
const isTyped = (field) =>
  Boolean(field.value.trim()) && (field.value !== field.defaultValue || "typed" in field.dataset);

/* A notice from the page's templates, with these texts; what has no text is left out. */
function noticeOf(template, texts, tone = "") {
  const box = byId(template).content.firstElementChild.cloneNode(true);
  // That of a status has a shape too.
  if (tone) box.classList.add(...tone.split(" "));
  for (const [name, text] of Object.entries(texts)) {
    const place = box.querySelector(`[data-${name}]`);
    if (text) place.textContent = text;
    else place.remove();
  }
  return box;
}

/* What the desk drew anew takes the place of an element. What was opened in it stays open. Who went through the page by
   keys stands where they stood; false if that is gone. Both are known by name and place: words may be others by now. */
function replace(old, fresh) {
  const nameOf = (one) =>
    ["id", "name", "value", "href", "data-key"].map((name) => one.getAttribute(name)) +
    [one.closest("[id]")?.id, one.closest("details")?.className, one.form?.action];
  const opened = all("details[open]:not([name=why])", old).map(nameOf);
  const had = old.contains(document.activeElement) && document.activeElement;
  const name = had && nameOf(had);
  old.replaceWith(fresh);
  all("details", fresh).forEach((one) => one.open ||= opened.includes(nameOf(one)));
  window.htmx.process(fresh);
  if (!had) return true;
  const again = [fresh, ...all(had.localName, fresh)].find((one) => nameOf(one) === name);
  again?.focus({ preventScroll: true });
  return Boolean(again);
}

/* Whether an answer is on its way that takes the place of the open message: to an undo, say, or a row's press. */
let replacing = 0;
const isReplacing = () => replacing > 0;
on("htmx:beforeSend", ({ target, xhr }) => {
  if (target.id !== "message") return;
  replacing += 1;
  xhr.addEventListener("loadend", () => {
    replacing -= 1;
  });
});

/* Another message, or another version of it, takes the place of the one that is open. */
function swap(text) {
  emit("desk:leave");
  window.htmx.swap("#message", text, { swapStyle: "outerHTML" });
}

/* Ask for a part of a page, as htmx does. */
function get(url, headers = {}) {
  return fetch(url, { headers: { "HX-Request": "true", ...headers }, credentials: "same-origin" });
}

/* Return that part as a document; null when the desk refused, asked to sign in, or did not answer. */
async function getPage(url, headers) {
  try {
    const response = await get(url, headers);
    return response.ok && !response.redirected ? parse(await response.text()) : null;
  } catch {
    return null;
  }
}

function post(url, fields, headers = {}) {
  const token = JSON.parse(document.body.getAttribute("hx-headers"));
  const body = new URLSearchParams(fields);
  return fetch(url, { method: "POST", body, headers: { ...token, ...headers }, credentials: "same-origin" });
}

// Buttons to undo stay: whether it is too late is not for this clock to say.
setInterval(() => {
  const now = performance.now();
  for (const place of all("[data-seconds]")) {
    const left = Math.ceil(((place.dataset.ends ??= now + place.dataset.seconds * 1000) - now) / 1000);
    const number = place.querySelector("[data-left]");
    if (left <= 0) number?.parentElement.replaceChildren(place.dataset.then);
    else if (number) number.textContent = left;
  }
}, 250);

// Keys that no element got, and those of a word that is being composed, are nobody's wish. Safari tells the last of
// these only by its code. Where reasons are chosen, they begin a text.
addEventListener("keydown", (event) => {
  const isComposed = event.isComposing || event.keyCode === 229;
  const isOurs = event.target.closest && !(isComposed && !event.target.closest(".presets"));
  if (!isOurs) event.stopImmediatePropagation();
}, true);
// A link that is to open elsewhere is the browser's.
addEventListener("click", (event) => {
  const isElsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (isElsewhere && event.target.closest?.("a")) event.stopImmediatePropagation();
}, true);

const reading = { all, byId, row, pane, openId, isPage, isReplacing, isSignIn, isTyped, parse, get, getPage, HELD };
const acting = { emit, on, onLoad, say, refuse, trouble, onPress, askFor, onKey, post, noticeOf, replace, swap };
window.desk = Object.freeze({ ...reading, ...acting });

/* What several scripts of the desk need: its events, requests to it, and the pages that it answers with. */
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
const say = (text) => emit("desk:say", { text });
/* Why a key or press did nothing: seen by everybody, and heard. */
const refuse = (text) => emit("desk:say", { text, isSeen: true });
/* What went wrong between page and desk: signed out, no answer, or a whole page in place of a part. */
const trouble = (kind, text) => emit("desk:trouble", { kind, text });
/* What a key wants of whoever draws its button. */
const askFor = (act, value) => emit("desk:key", { act, value });
const onKey = (act, listener) =>
  document.addEventListener("desk:key", ({ detail }) => detail.act === act && listener(detail.value));
/* The row of a message in the list. */
const row = (id) => document.querySelector(`#list .item[data-message="${CSS.escape(id)}"]`);
// What a message is again once a decision of it has come to nothing.
const HELD = { code: "held", word: "Held", tone: "amber" };
const parse = (text) => new DOMParser().parseFromString(text, "text/html");

/* A notice from the page's templates, with these texts; what has no text is left out. */
function noticeOf(template, texts, tone = "") {
  const box = document.getElementById(template).content.firstElementChild.cloneNode(true);
  if (tone) box.classList.add(tone);
  for (const [name, text] of Object.entries(texts)) {
    const place = box.querySelector(`[data-${name}]`);
    if (text) place.textContent = text;
    else place.remove();
  }
  return box;
}

/* Ask for a part of a page, as htmx does. */
function get(url, headers = {}) {
  return fetch(url, { headers: { "HX-Request": "true", ...headers }, credentials: "same-origin" });
}

/* Return that part as a document; null when the desk refused, or asked to sign in. */
async function getPage(url, headers = {}) {
  const response = await get(url, headers);
  return response.ok && !response.redirected ? parse(await response.text()) : null;
}

function post(url, fields, { headers = {} } = {}) {
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  const body = new URLSearchParams(fields);
  return fetch(url, {
    method: "POST",
    body,
    headers: { "X-CSRFToken": token, ...headers },
    credentials: "same-origin",
  });
}

/* When what a place counts down to happens, by the clock of this page. */
const endOf = (place) => Number(place.dataset.ends ??= performance.now() + place.dataset.seconds * 1000);

// Buttons to undo stay: whether it is too late is not for this clock to say.
setInterval(() => {
  for (const place of all("[data-seconds]")) {
    const left = Math.ceil((endOf(place) - performance.now()) / 1000);
    const words = left > 0 ? place.textContent.replace(/\d+\s+s$/, `${left} s`) : place.dataset.then;
    if (place.textContent !== words) place.textContent = words;
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

window.desk = Object.freeze({
  HELD,
  all,
  emit,
  say,
  refuse,
  trouble,
  askFor,
  onKey,
  row,
  parse,
  noticeOf,
  get,
  getPage,
  post,
  endOf,
});

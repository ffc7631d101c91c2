/* What several scripts of the desk need: its events, requests to it, the pages that it answers with, and words about
   what went wrong. */
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const find = (selector) => document.querySelector(selector);
const byId = (id) => document.getElementById(id);
/* The message that is open, and its id; without one the pane is there and has no id. */
const pane = () => byId("message");
const openId = () => pane()?.dataset.message ?? "";
const row = (id) => find(`#list .item[data-message="${CSS.escape(id)}"]`);
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
/* What a key wants of whoever draws its button. */
const askFor = (act, value) => emit("desk:key", { act, value });
const onKey = (act, listener) => on("desk:key", (wanted) => wanted.act === act && listener(wanted.value));
// What a message is again once a decision of it has come to nothing.
const HELD = "held";
const isPage = (text) => /^\s*<!doctype/i.test(text);
const { signIn, pulse, me } = document.body.dataset;
const isSignIn = (url) => Boolean(url) && new URL(url, location.href).pathname === signIn;
const parse = (text) => new DOMParser().parseFromString(text, "text/html");

/* What the desk itself wrote into a field is no loss; what it handed back after a refusal was typed by somebody. */
const isTyped = (field) =>
  Boolean(field.value.trim()) && (field.value !== field.defaultValue || "typed" in field.dataset);

/* Said once; what stays on the page stands elsewhere. */
let quiet = 0;
function say(text, isSeen = false) {
  const place = byId("announce");
  place.textContent = text;
  place.classList.toggle("sr-only", !isSeen);
  clearTimeout(quiet);
  if (text) quiet = setTimeout(say, isSeen ? 4000 : 1500, "");
}
// The desk says, too, that there is nothing to undo.
on("desk:say", ({ text }) => refuse(text));
/* Why a key or press did nothing: seen by everybody, and heard. */
const refuse = (text = "This key does nothing here.") => say(text, true);

/* The digit on this key. Where the top row makes other characters without Shift (French), what is printed there. */
const digitOf = ({ key, code, shiftKey }) =>
  Number(/^[1-9]$/.exec(key)?.[0] ?? (shiftKey ? 0 : /^Digit([1-9])$/.exec(code)?.[1] ?? 0));

/* A notice from the page's templates, with these texts; what has no text is left out. */
function noticeOf(template, texts = {}, tone = "") {
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

/* Over the page, until somebody closes it; one with this id takes the place of the last. */
function putToast(box) {
  if (box.id) byId(box.id)?.remove();
  byId("toasts").append(box);
}

function note({ tone = "rose", title, text, link, id = "" }) {
  const box = noticeOf("a-note", { title, text, words: link?.words }, tone);
  box.id = id;
  if (link) box.querySelector("a").href = link.href;
  putToast(box);
}
on("desk:note", note);
onPress("[data-close]", (button) => button.parentElement.remove());

/* A whole page came from this address where a part was expected: sign-in, or an error page. Or there was no answer.
   What that means for what was sent, a "verdict", a "form" or something else, the template says. */
function trouble(url, page, sent = "other") {
  const isSignedOut = isSignIn(url);
  if (page && !isSignedOut) {
    const [title, sentence] = ["h1", "[data-sentence]"].map((part) => parse(page).querySelector(part)?.textContent);
    return note({ title: title ?? "That did not work", text: sentence ?? "Reload the page and try again." });
  }
  const box = noticeOf(isSignedOut ? "a-signed-out" : "an-unreachable");
  for (const words of all("[data-after]", box)) if (words.dataset.after !== sent) words.remove();
  // What was said of a press is not taken away by a question of the page itself.
  if (sent === "other" && byId(box.id)) return;
  putToast(box);
  if (isSignedOut) box.querySelector("a").search = `?next=${encodeURIComponent(location.pathname + location.search)}`;
}
on("htmx:beforeSwap", (detail) => {
  const { responseURL, responseText, status } = detail.xhr;
  if (!isPage(responseText)) return status < 400 && dropDrafts(detail.requestConfig.elt);
  detail.shouldSwap = false;
  trouble(responseURL, responseText, detail.requestConfig?.verb === "post" ? "form" : "other");
});
// Those that ask for themselves are not waited for.
on("htmx:sendError", ({ elt }) => elt.matches("#claim, #decided") || trouble());

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
  xhr.addEventListener("loadend", () => replacing -= 1);
});

/* Another message, or another version of it, has taken the place of the one that was open. */
function begin(article) {
  window.htmx.process(article);
  window.htmx.trigger(article, "htmx:load");
}

function swap(article) {
  emit("desk:leave");
  pane().replaceWith(article);
  begin(article);
}

/* Ask for a part of a page, as htmx does. */
function get(url, headers = {}) {
  return fetch(url, { headers: { "HX-Request": "true", ...headers }, credentials: "same-origin" });
}

/* Return that part as a document; null when the desk refused, asked to sign in, or did not answer. */
const getPage = (url, headers) =>
  get(url, headers)
    .then(async (response) => (response.ok && !response.redirected ? parse(await response.text()) : null))
    .catch(() => null);

function post(url, fields, headers = {}) {
  const token = JSON.parse(document.body.getAttribute("hx-headers"));
  const body = new URLSearchParams(fields);
  return fetch(url, { method: "POST", body, headers: { ...token, ...headers }, credentials: "same-origin" });
}

/* What the pulse tells: who signed in again, in another tab, has another token for forms. False for somebody else, to
   whom nothing of this page belongs. */
function renew(told) {
  if (told.me !== me) return void location.reload();
  document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": told.token }));
  for (const field of all("[name=csrfmiddlewaretoken]")) field.value = told.token;
  return true;
}

/* What is typed is kept in this tab, by person, form and field, until it is sent. A reload or a sign-in puts it back;
   another way to the page begins anew. Secrets are not kept. */
const LINES =
  "textarea, input:is(:not([type]), [type=text], [type=email], [type=url], [type=number], [type=datetime-local])";
const isKept = (field) =>
  field.form?.method === "post" && field.matches(LINES) && !field.matches("[autocomplete^=one-time]");
const DRAFTS = `drafts ${me}`;
const isBack = performance.getEntriesByType("navigation")[0]?.type !== "navigate" || isSignIn(document.referrer);
if (!isBack) sessionStorage.removeItem(DRAFTS);
const drafts = JSON.parse(sessionStorage[DRAFTS] ?? "{}");
const formOf = ({ form }) =>
  [form.getAttribute("action") ?? location.pathname, form.elements.outcome?.value ?? ""].join();
function keepDraft(field, text) {
  drafts[formOf(field)] = { ...drafts[formOf(field)], [field.name]: text };
  sessionStorage[DRAFTS] = JSON.stringify(drafts);
}
function dropDrafts(form) {
  for (const field of form.elements ?? []) if (isKept(field)) keepDraft(field);
}
function putDraftsBack() {
  for (const field of all("input, textarea")) {
    const text = isKept(field) && drafts[formOf(field)]?.[field.name];
    if (!text || isTyped(field)) continue;
    Object.assign(field, { value: text }).dataset.typed = "";
    field.closest("details")?.setAttribute("open", "");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
document.addEventListener("input", ({ target }) => isKept(target) && keepDraft(target, target.value));
// What is typed while the page is open, its scripts keep.
on("htmx:load", ({ elt }) => elt === document.body && putDraftsBack());

/* A form in which something was typed is sent once the desk answers: a sign-in that has ended, or a network that is
   away, takes nothing of it. htmx leaves the page as it is anyway. Two presses of its button are one. */
let passing = null;
const TEXT = "textarea, input:not([type=hidden], [type=checkbox], [type=radio])";
const TYPED = `form[method=post]:not([hx-post], [data-verdict]):has(${TEXT})`;
document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  // Enter in a tick: nothing is sent by that.
  if (submitter?.matches("[data-nothing]")) return event.preventDefault();
  if (form === passing || !form.matches(TYPED) || submitter?.matches("[formtarget]")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (form.dataset.asks) return;
  form.dataset.asks = "asked";
  const response = await get(pulse).catch(() => null);
  if (!(response?.status < 500) || isSignIn(response.url)) {
    trouble(response?.url, "", "form");
    return rest();
  }
  if (response.ok && !renew(await response.json())) return;
  form.dataset.asks = "sent";
  passing = form;
  form.requestSubmit(submitter);
  passing = null;
  // The answer may be a file, and the page stays.
  setTimeout(rest, 4000);
}, true);

/* A refusal, or the way back, shows the page again. */
const rest = () => all("[data-asks]").forEach((form) => form.removeAttribute("data-asks"));
addEventListener("pageshow", rest);

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

const reading = { all, byId, find, row, pane, openId, isPage, isReplacing, isSignIn, isTyped, parse, get, getPage };
const acting = { renew, emit, on, onLoad, say, refuse, note, trouble, onPress, askFor, onKey, post, noticeOf, replace };
window.desk = Object.freeze({ ...reading, ...acting, HELD, begin, digitOf, swap });

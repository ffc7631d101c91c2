/* Single keys. None acts in a field, with a modifier, while a word is being composed, when it is held down, or on what
   is not on screen. What an act does belongs to whoever draws its button. */
const { all, askFor, byId, digitOf, find, on, openId, pane, refuse } = window.desk;
const PLACES = { q: "/queue/", h: "/history/", a: "/audit/" };
const dialog = byId("keys");
const isVisible = (element) => Boolean(element?.checkVisibility()) && !element.closest("[inert]");
/* A letter that means nothing, or one that leads into a field or to another view, is the beginning of words: what is
   typed right after it, before that field has the focus, decides nothing. */
const DECIDES = ["a", "r", "R", "b"];
const LEADS = ["r", "b", "m", "h", "o"];
const WORDS_MS = 400;
let wordsUntil = 0;
let isGoing = false;

on("htmx:afterRequest", ({ elt, xhr }) => {
  if (elt.id !== "keys-off" || xhr.status === 204) return;
  elt.checked = !elt.checked;
  refuse("This could not be saved.");
});

const inField = (element) =>
  element.isContentEditable ||
  element.matches("input:not([type=radio], [type=checkbox]), textarea, select, .why[open] .reason *");

/* One cursor: the neighbour opens, and the list follows. After the last row comes the next page. On the sheet of
   several the neighbour comes into view. */
function move(by) {
  const items = all("#list li:not([hidden]) .item, #together .one");
  const isFocused = (item) => (item.closest("#list li") ?? item).contains(document.activeElement);
  const focused = items.findIndex(isFocused);
  const from = focused >= 0 ? focused : items.findIndex((item) => item.hasAttribute("aria-current"));
  const more = find("#list [rel=next]");
  const next = items[from < 0 ? 0 : from + by];
  if (from + by >= items.length && more) {
    window.htmx.ajax("GET", more.href, { target: "#list", swap: "outerHTML" })
      .then(() => find("#list .item")?.click());
  } else if (next?.matches(".one")) {
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  } else if (next?.hasAttribute("aria-current")) next.focus();
  else if (next) next.click();
  else refuse(items.length ? `There is no message ${by > 0 ? "after" : "before"} this one.` : undefined);
}

const click = (element, words) => (isVisible(element) ? element.click() : refuse(words));

/* The button of this act, on the message that is on screen. */
function press(act) {
  const button = find(`:is(#message, #together, #bulk-done, #careful) [data-key=${act}]`);
  const cursor = find("#list .item[aria-current]")?.dataset.message;
  if (cursor && cursor !== openId()) return refuse("The message is still opening.");
  // Where there is little room it stands in a menu.
  const more = find("#decide .more > summary");
  if (button?.checkVisibility() === false && isVisible(more)) more.parentElement.open = true;
  if (!isVisible(button)) return act === "z" ? askFor("undo") : refuse();
  if (button.disabled) return refuse(byId("together") ? "Nothing here was read yet." : "This is under way.");
  if (button.matches("#decide .why > summary")) askFor("why", button.parentElement);
  else if (act === "a" && !button.hasAttribute("data-at-once") && document.activeElement !== button) button.focus();
  else if (button.matches("input, textarea, select")) button.focus();
  else button.click();
}

function toList() {
  if (getComputedStyle(find("#list")).position === "absolute") location.assign(find("#list").dataset.url);
  else (find("#list .item[aria-current]") ?? find("#list .item") ?? find("#list")).focus();
}

function search() {
  const field = find("#search [name=q]");
  if (isVisible(field)) field.select();
  else location.assign(`${find("#list")?.dataset.url ?? PLACES.q}#search`);
}

function jump(id, words) {
  const place = byId(id);
  if (!isVisible(place)) return refuse(words);
  place.focus({ preventScroll: true });
  place.scrollIntoView({ block: "start" });
}

/* The view of the message with this name; where it is open already, the first one. */
function view(name, words) {
  const tab = find(`#sheet #tab-${name}`);
  if (tab) (tab.hasAttribute("aria-current") ? find("#sheet .tab") : tab).click();
  else refuse(isVisible(find("#sheet")) ? words : undefined);
}

const ACTS = {
  ...Object.fromEntries([..."awrebzscm"].map((key) => [key, () => press(key)])),
  ...Object.fromEntries([..."123456789"].map((key) => [key, () => click(find(`#snooze[open] [data-key="${key}"]`))])),
  j: () => move(1),
  k: () => move(-1),
  u: () => (find("#list") ? toList() : click(find(".crumb"))),
  n: () => click(find("#new"), "There are no new messages here."),
  R: () => askFor("same-reason"),
  x: () => askFor("select"),
  X: () => askFor("select-range"),
  A: () => askFor("bulk"),
  v: () => click(find("#sheet .tab[aria-current] + .tab") ?? find("#sheet .tab")),
  h: () => view("source", "There is no source yet."),
  o: () => view("original", "The original looks the same."),
  l: () => jump("links", "This message has no links."),
  t: () => jump("thread", "This message belongs to no thread."),
  g: () => {
    isGoing = true;
  },
  "/": search,
  "?": showHelp,
};

/* On a keyboard of another script, the Latin letter that is printed on the same key. There a key may also make a
   vowel sign (Thai) or two letters (Arabic). */
const isLetters = (key) => /^[\p{L}\p{M}]{1,2}$/u.test(key);
const isOther = (key) => isLetters(key) && !/\p{Script=Latin}/u.test(key);
// The signs of such a layout stand on keys of letters, too. No layout of Latin letters has this one there.
const HEBREW = { KeyW: "'" };
let isOtherLayout = false;
const printed = new Map();
const keyOf = (event) => {
  const { key, code, shiftKey } = event;
  printed.set(code, key);
  if (isLetters(key)) isOtherLayout = isOther(key);
  else if (key === HEBREW[code]) isOtherLayout = true;
  if (digitOf(event)) return String(digitOf(event));
  const [, letter] = (isOtherLayout && /^Key([A-Z])$/.exec(code)) || [];
  if (!letter) return key;
  return shiftKey || key !== key.toLowerCase() ? letter : letter.toLowerCase();
};

/* The help names such keys as they were pressed, or as the browser tells: of several layouts that is the Latin one. */
async function showHelp() {
  dialog.showModal();
  const layout = await navigator.keyboard?.getLayoutMap().catch(() => null);
  for (const kbd of all("kbd", dialog)) {
    const code = `Key${kbd.dataset.letter ??= kbd.textContent}`;
    const name = printed.get(code) ?? layout?.get(code) ?? "";
    kbd.textContent = kbd.dataset.letter + (isOther(name) ? ` ${name.toUpperCase()}` : "");
  }
}

/* Shift belongs to capitals and signs. With Caps Lock on it makes small letters, and a letter alone is a capital:
   neither is anybody's wish. */
const isCapsLock = ({ shiftKey, key }) => (shiftKey ? /^\p{Ll}$/u : /^\p{Lu}$/u).test(key);

function pressed(event) {
  if (event.key === "Escape") return leave(event);
  const key = keyOf(event);
  const isFree = !find("dialog[open]") && !inField(event.target);
  if (/^k$/i.test(key) && event.ctrlKey !== event.metaKey && !event.altKey && isFree) {
    event.preventDefault();
    return find(".to-find").click();
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat || !isFree) return;
  if (event.key === "Enter" && event.target.matches("body, main")) return find("[data-enter]")?.click();
  const act = ACTS[isCapsLock(event) ? key.toLowerCase() : key];
  if (isGoing) {
    // However long it took: the key after G goes somewhere or does nothing, and never approves.
    if (key === "Shift") return;
    isGoing = false;
    if (PLACES[key]) location.assign(PLACES[key]);
    else refuse();
  } else if (act && (key === "?" || !byId("keys-off").checked)) {
    event.preventDefault();
    if (isCapsLock(event)) return refuse("Caps Lock is on, and single keys do nothing.");
    const isWord = DECIDES.includes(key) && event.timeStamp < wordsUntil;
    if (isWord || LEADS.includes(key)) wordsUntil = event.timeStamp + WORDS_MS;
    if (isWord) refuse("Nothing was decided: the key came right after another one. Press it again.");
    else act();
  } else if (isLetters(event.key)) wordsUntil = event.timeStamp + WORDS_MS;
}

function leave({ target }) {
  isGoing = false;
  const open = target.closest(".menu[open], #decide details[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  } else if (target.matches("#search input")) target.blur();
  else if (target.matches("#comment-text")) pane().focus({ preventScroll: true });
}

// Where nobody is signed in there is none.
if (dialog) {
  document.addEventListener("keydown", pressed);
  dialog.dataset.ready = "";
}

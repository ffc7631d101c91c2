/* The open message: says that it is on screen, follows what becomes of it, and never disturbs what is being typed. */
const { HELD, all, emit, get, noticeOf, parse, post, say, trouble } = window.desk;
// Parts that say where the message is. The letter itself is only painted again when its fingerprint is another.
const PARTS = ["message-bar", "message-notes", "findings", "origin", "ruling", "decide"];
const pane = () => document.getElementById("message");
let news = null;
let isMine = false;
let isAsking = false;
let following = 0;
let soon = 0;
let asked = 0;
let missed = false;
// The message that opened itself, until it counts as opened.
let unasked = null;
// What was heard of the open message and is not painted yet: its row, its bar and the notice change together.
let told = null;

/* What the desk itself wrote into a field is no loss; what it handed back after a refusal was typed by somebody. */
const isTyped = (field) =>
  Boolean(field.value.trim()) && (field.value !== field.defaultValue || "typed" in field.dataset);

/* Words in a field, and what was opened to choose from: a reason, a time to put it off to, whom to take it from. */
function isInHand() {
  return Boolean(document.querySelector("#decide details[open]:not(.more), #ask-title")) ||
    all("#decide textarea").some(isTyped);
}

/* Once for each version that is shown: the note in the ledger that it was on this person's screen. */
function reportOpened() {
  const { opened, fingerprint } = pane()?.dataset ?? {};
  if (!opened || !fingerprint) return;
  // A verdict waits for it.
  pane().reported = post(opened, { fingerprint }).catch(() => {});
}

/* What opened itself counts as opened once somebody presses or scrolls. */
function reportOnceUsed() {
  const used = new AbortController();
  pane().dataset.unasked = "";
  for (const name of ["keydown", "pointerdown", "wheel", "scroll"]) {
    document.addEventListener(name, ({ type, target, isTrusted }) => {
      // A tick in the list, what is typed into a field, and a list that scrolls to its row are not about it.
      const isElsewhere = type === "keydown" ? target.matches("input, textarea, select") : !pane().contains(target);
      if (!isTrusted || isElsewhere) return;
      used.abort();
      if (!("unasked" in pane().dataset)) return;
      delete pane().dataset.unasked;
      unasked = null;
      reportOpened();
      emit("desk:opened");
    }, { capture: true, signal: used.signal });
  }
}

/* The page, and its first heading, are called by the message that is open. */
function callPage() {
  const { message } = pane().dataset;
  const subject = message ? document.getElementById("subject").textContent.trim().replace(/\s+/g, " ") : "Queue";
  const waiting = /^\([\d,]+\+?\) /.exec(document.title)?.[0] ?? "";
  document.title = `${waiting}${subject.slice(0, 120)} · Countersign`;
  const heading = document.querySelector("#list h1");
  if (heading) heading.role = message ? "presentation" : null;
}

function painted() {
  const { message, code } = pane().dataset;
  callPage();
  if (!message) {
    clearTimeout(following);
    emit("desk:painted", { id: "" });
    return;
  }
  if (told) emit("desk:row", { id: message });
  told = null;
  emit("desk:painted", { id: message, code });
  begin();
}

/* As it was loaded with its page, the list and all else beside it already say what it says. */
function begin() {
  showNews();
  follow();
}

/* Something will still happen to this message. The stream tells; without it, or when it missed, the pane asks. */
function follow() {
  clearTimeout(following);
  if (!pane().hasAttribute("data-moving")) return;
  const seconds = Number(document.querySelector("#decide [data-seconds]")?.dataset.seconds ?? 0);
  const pause = document.body.dataset.stream === "open" ? 6000 : 2000;
  following = setTimeout(() => (document.hidden || isInHand() ? follow() : refresh()), seconds * 1000 + pause);
}

async function refresh({ isWished = false } = {}) {
  const { message, url } = pane()?.dataset ?? {};
  if (!url) return;
  asked += 1;
  const mine = asked;
  try {
    const response = await get(url);
    if (response.redirected) trouble("signed out");
    else if (response.ok) {
      const text = await response.text();
      // An older answer must not paint over a newer one, nor over another message.
      const isCurrent = mine === asked && pane().dataset.message === message;
      // Somebody may have begun to write while the answer was on its way.
      if (isCurrent && !isWished && isInHand()) missed = true;
      else if (isCurrent && !paint(text, { keeps: true })) replace(text);
    }
  } catch {
    follow();
  }
  if (mine === asked) tell();
}

/* What is typed about the message that gives way is kept. */
function replace(text) {
  emit("desk:leave");
  window.htmx.swap("#message", text, { swapStyle: "outerHTML" });
}

/* While an answer is on its way, that answer paints; what came after it is asked for when it is there. */
function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(() => (isAsking ? refreshSoon() : refresh()), 60);
}

function refreshWhenFree() {
  missed = isInHand();
  if (missed) return;
  if (news) news.waits = false;
  refreshSoon();
}

/* Paint an answer over the pane; false when it has to be swapped in whole, because another letter is in it.

   A message that changed is never put under the reader's eyes unasked: the page says so and offers to show it. */
function paint(text, { keeps = false } = {}) {
  const next = parse(text).getElementById("message");
  const isThis = next?.dataset.message === pane().dataset.message;
  const same = isThis && next.dataset.fingerprint === pane().dataset.fingerprint;
  // An answer with the changes since an earlier version is no answer about the one on screen.
  const since = next && new URL(next.dataset.url ?? "", location.href).searchParams.get("since");
  if (isThis && !same && pane().dataset.fingerprint && since !== pane().dataset.fingerprint) {
    // Who has decided waits for the outcome: that the change has ended the decision is not left behind a button.
    const isOver = pane().hasAttribute("data-moving") && !("moving" in next.dataset);
    if (isOver && !isInHand()) loadChanges(pane().dataset.fingerprint);
    else showChanged();
    return true;
  }
  if (!same) {
    // Old and new stand side by side for a moment: of two open ones by one name the browser closes the newer.
    pane().querySelectorAll("details[name]").forEach((one) => one.removeAttribute("name"));
    return false;
  }
  const had = PARTS.some((id) => document.getElementById(id)?.contains(document.activeElement)) &&
    document.activeElement;
  // What was only under way is over once the message has moved.
  const stays = next.dataset.code === pane().dataset.code ? "[data-kept], [data-notice]" : "[data-kept]";
  const wasRead = document.getElementById("read-again")?.checked;
  for (const id of PARTS) {
    const [old, fresh] = [document.getElementById(id), next.querySelector(`#${id}`)];
    // What was refused, and what somebody had typed then, is not wiped away because the desk has looked again.
    if (keeps && old && fresh) fresh.prepend(...old.querySelectorAll(stays));
    if (old && fresh) old.replaceWith(fresh);
    if (fresh) window.htmx.process(fresh);
  }
  for (const name of ["code", "word", "tone", "detail", "late", "moving", "next"]) {
    if (name in next.dataset) pane().dataset[name] = next.dataset[name];
    else delete pane().dataset[name];
  }
  if (wasRead && document.getElementById("read-again")) document.getElementById("read-again").checked = true;
  if (had && !focusAgain(had)) focusNotice();
  painted();
  return true;
}

/* Who goes through the page by keys stands where they stood, if that is still there. */
function focusAgain(was) {
  const is = (one) =>
    ["id", "name", "href"].every((name) => one.getAttribute(name) === was.getAttribute(name)) &&
    one.textContent.trim() === was.textContent.trim();
  const again = PARTS.flatMap((id) => [...(document.getElementById(id)?.querySelectorAll(was.localName) ?? [])]).find(
    is,
  );
  again?.focus({ preventScroll: true });
  return Boolean(again);
}

/* The message is another by now; what stands here is what was opened. */
function showChanged() {
  follow();
  if (news?.since) return;
  const text = "This message changed while you had it open";
  news = {
    text,
    tone: "amber",
    since: pane().dataset.fingerprint,
    more: "You still see the version that you opened, which can no longer be decided.",
  };
  showNews();
}

function loadChanges(since) {
  const url = new URL(pane().dataset.url, location.href);
  url.searchParams.set("since", since);
  window.htmx.ajax("GET", `${url.pathname}${url.search}`, { target: "#message", swap: "outerHTML" });
}

function focusNotice() {
  const open = document.querySelector("#decide details[open] textarea");
  (open ?? document.querySelector("#message [data-focus]") ?? pane()).focus({ preventScroll: true });
}

/* What somebody else did to the message while it was being read. */
function showNews() {
  const notes = document.getElementById("message-notes");
  notes?.querySelector("[data-news]")?.remove();
  if (!notes || !news) return;
  if (!news.isSaid) say(news.text);
  news.isSaid = true;
  const { text, more, tone, since, waits } = news;
  const words = since ? "Show what changed" : waits && "Show it";
  const box = noticeOf("a-change", { title: text, text: more && `. ${more}`, words }, tone);
  box.querySelector("button")?.addEventListener("click", () => {
    if (since) return loadChanges(since);
    news.waits = false;
    refresh({ isWished: true });
  });
  notes.prepend(box);
}

document.addEventListener("desk:hint", ({ detail: hint }) => {
  if (hint.message !== pane()?.dataset.message) return;
  if (["message.opened", "message.served", "message.held"].includes(hint.action)) return;
  if (hint.action === "message.changed" && pane().dataset.fingerprint) showChanged();
  else hear(hint);
});

/* Something happened to the message: the desk is asked, and its answer paints everything that says so. Who has
   something in hand is told at once, and keeps it. */
function hear({ code, word, tone = "blue", detail = "" }) {
  told = { id: pane().dataset.message, code, word, tone, detail };
  if (code === HELD.code && !news?.since) news = null;
  else if (!isMine && !news?.since && code !== pane().dataset.code) {
    const said = detail && detail !== pane().dataset.detail ? detail : word;
    news = { text: `${said} just now`, tone, waits: isInHand() };
  }
  if (isInHand()) tell();
  refreshWhenFree();
}

function tell() {
  if (!told) return;
  const chip = document.querySelector("#message-bar .chip.shape");
  if (chip) Object.assign(chip, { textContent: told.word, className: `chip shape ${told.tone}` });
  emit("desk:row", { id: told.id });
  told = null;
  showNews();
}

// What is leaving waits from now on, or goes at last.
document.addEventListener("desk:stopped", () => {
  if (pane()?.hasAttribute("data-moving")) refreshWhenFree();
});

// The pulse knows of the open message too: a page whose stream is not there learns by it.
document.addEventListener("desk:pulse", ({ detail: { open } }) => {
  if (!open || open.id !== pane()?.dataset.message || isAsking) return;
  const { fingerprint, code } = pane().dataset;
  if (fingerprint && open.fingerprint !== fingerprint) showChanged();
  else if (open.fingerprint !== fingerprint || open.code !== code) hear(open);
  // A letter came into the thread while nobody listened.
  else if (open.late !== pane().dataset.late) refreshWhenFree();
});

// The hint of one's own verdict may be faster than its answer: it is no news.
document.addEventListener("desk:deciding", () => {
  isMine = isAsking = true;
});
document.addEventListener("desk:answered", ({ detail: { isDone } }) => {
  isAsking = false;
  isMine &&= isDone;
});
document.addEventListener("htmx:beforeRequest", ({ detail: { requestConfig, xhr } }) => {
  isMine = requestConfig.verb === "post" &&
    /\/(undo|send-again)\/$/.test(new URL(requestConfig.path, location.href).pathname);
  isAsking = true;
  xhr.addEventListener("loadend", () => {
    isAsking = false;
  });
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr, requestConfig, shouldSwap } = event.detail;
  if (target.id !== "message" || !shouldSwap) return;
  const wasPosted = requestConfig?.verb === "post";
  isMine &&= xhr.status < 300;
  news = told = null;
  asked += 1;
  if (!wasPosted || !paint(xhr.responseText)) return;
  event.detail.shouldSwap = false;
  focusNotice();
});

/* Another message stands in the pane. */
function shown() {
  isMine = false;
  document.body.classList.toggle(
    "is-reading",
    Boolean(pane().dataset.message) || pane().classList.contains("finished"),
  );
  if (getComputedStyle(document.body).display === "block") window.scrollTo(0, 0);
  // It may be drawn again before anybody presses anything.
  unasked = document.body.dataset.unasked ?? unasked;
  delete document.body.dataset.unasked;
  const isUnasked = unasked === pane().dataset.message;
  if (isUnasked) reportOnceUsed();
  else reportOpened();
  painted();
  if (isUnasked) return;
  // Who was quicker than this already writes: the next letters typed must not become commands.
  if (document.activeElement.matches("#message :is(input, textarea, select)")) return;
  const decided = document.getElementById("decided");
  const notice = decided ?? document.querySelector("#message .notice[data-focus]") ??
    document.getElementById("changed");
  (notice ?? document.getElementById("subject") ?? pane()).focus({ preventScroll: !notice || notice === decided });
}

document.addEventListener("htmx:load", ({ detail: { elt } }) => {
  if (elt.id === "list") callPage();
  if (elt.id !== "message") return;
  // An undo, say, leads to a message whose address is another than the one that stands above.
  const { page } = elt.dataset;
  if (page && new URL(page, location.href).pathname !== location.pathname) {
    history.pushState({ htmx: true }, "", page);
  }
  shown();
});
document.addEventListener("desk:leave", () => {
  news = told = null;
  asked += 1;
});
document.addEventListener("desk:shown", shown);
document.addEventListener("desk:returned", () => {
  painted();
  focusNotice();
});
document.addEventListener("desk:answer", ({ detail: text }) => {
  asked += 1;
  if (paint(text)) focusNotice();
  else replace(text);
});
document.addEventListener("desk:repaint", ({ detail: text }) => {
  if (!isInHand()) paint(text, { keeps: true });
});
document.addEventListener("desk:recheck", refreshWhenFree);
document.addEventListener("toggle", ({ target }) => {
  if (missed && !target.open && target.closest?.("#decide")) refreshWhenFree();
}, true);

if (pane()?.dataset.message) {
  callPage();
  begin();
  // A plain page load was noted by the server itself, but for one that was made ready before anybody looked at it.
  if (document.prerendering) document.addEventListener("prerenderingchange", reportOpened, { once: true });
  // An answer that kept what was typed starts where it went wrong.
  if (document.querySelector("#message-notes [data-focus]")) focusNotice();
}

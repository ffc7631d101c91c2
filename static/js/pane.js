/* The open message: says that it is on screen, follows what becomes of it, and never disturbs what is being typed. */
const { HELD, all, byId, emit, find, getPage, isReplacing, isTyped, noticeOf, on, onLoad } = window.desk;
const { openId, pane, parse, post, replace, say, swap } = window.desk;
// Parts that say where the message is. The letter itself is only painted again when its fingerprint is another.
const PARTS = ["message-bar", "message-notes", "findings", "thread", "origin", "ruling", "story", "decide"];
let news = null;
let isMine = false;
let following = 0;
let soon = 0;
let asked = 0;
// Whether the decision was left as it was, because somebody had it in hand.
let missed = false;
// What was typed, by message and field.
const kept = new Map();

const focusOn = (element) => (element ?? pane()).focus({ preventScroll: true });
const isAsking = () => isReplacing() || Boolean(find("[data-deciding], #message form.htmx-request"));
const isOpen = (id) => Boolean(id) && id === pane()?.dataset.message;

/* Words in a field, and what was opened to choose from: a reason, a time to put it off to, whom to take it from. */
const isInHand = () =>
  Boolean(find("#decide details[open]:not(.more), #ask-title")) ||
  all("#decide textarea").some(isTyped);

/* Once for each version that is shown: the note in the ledger that it was on this person's screen. */
function reportOpened() {
  const { opened, fingerprint } = pane().dataset;
  // A verdict waits for it.
  if (opened && fingerprint) pane().reported = post(opened, { fingerprint }).catch(() => {});
}

/* What opened itself counts as opened once somebody presses or scrolls. */
for (const name of ["keydown", "pointerdown", "wheel", "scroll"]) {
  document.addEventListener(name, ({ type, target, isTrusted }) => {
    if (!isTrusted || openId() !== document.body.dataset.unasked) return;
    // A tick in the list, what is typed into a field, and a list that scrolls to its row are not about it.
    const isElsewhere = type === "keydown" ? target.matches("input, textarea, select") : !pane().contains(target);
    if (isElsewhere) return;
    delete document.body.dataset.unasked;
    reportOpened();
    painted();
  }, true);
}

/* The page, and its first heading, are called by the message that is open. */
function callPage() {
  const { message } = pane().dataset;
  const subject = message ? byId("subject").textContent.trim().replace(/\s+/g, " ") : "Queue";
  const waiting = /^\([\d,]+\+?\) /.exec(document.title)?.[0] ?? "";
  document.title = `${waiting}${subject.slice(0, 120)} · Countersign`;
  const heading = find("#list h1");
  if (heading) heading.role = message ? "presentation" : null;
}

function painted() {
  const { message: id = "", code } = pane().dataset;
  callPage();
  emit("desk:painted", { id, code });
  showNews();
  follow();
}

/* Something will still happen to this message. The stream tells; without it, or when it missed, the pane asks. */
function follow() {
  clearTimeout(following);
  if (!pane().hasAttribute("data-moving")) return;
  const seconds = Number(find("#decide [data-seconds]")?.dataset.seconds ?? 0);
  const pause = document.body.dataset.stream === "open" ? 6000 : 2000;
  following = setTimeout(() => (document.hidden || isInHand() ? follow() : refresh()), seconds * 1000 + pause);
}

async function refresh({ isWished = false } = {}) {
  const { message, url } = pane()?.dataset ?? {};
  if (!url) return;
  asked += 1;
  const mine = asked;
  const next = (await getPage(url))?.getElementById("message");
  // An older answer must not paint over a newer one, nor over another message.
  if (mine !== asked || !isOpen(message)) return;
  if (!next) {
    // The pulse finds out whether they are signed out.
    emit("desk:ask-pulse");
    return follow();
  }
  if (isAsking()) return refreshSoon();
  missed = !isWished && isInHand();
  if (!paint(next, { keeps: true }) && !missed) swap(next);
}

/* While an answer is on its way, that answer paints; what came after it is asked for when it is there. */
function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(() => (isAsking() ? refreshSoon() : refresh()), 60);
}

/* Paint an answer over the pane; false when it has to be swapped in whole, because another letter is in it.

   A message that changed is never put under the reader's eyes unasked: the page says so and offers to show it. */
function paint(next, { keeps = false } = {}) {
  const { message, fingerprint, code } = pane().dataset;
  const isThis = next?.dataset.message === message;
  const same = isThis && next.dataset.fingerprint === fingerprint;
  // An answer with the changes since an earlier version is no answer about the one on screen.
  const since = next && new URL(next.dataset.url ?? "", location.href).searchParams.get("since");
  if (isThis && !same && fingerprint && since !== fingerprint) {
    // Who has decided waits for the outcome: that the change has ended the decision is not left behind a button.
    const isOver = pane().hasAttribute("data-moving") && !("moving" in next.dataset);
    if (isOver && !isInHand()) loadChanges(fingerprint);
    else showChanged();
    return true;
  }
  if (!same) return false;
  const hasMoved = next.dataset.code !== code;
  if (keeps && hasMoved && !news?.since) {
    const { decision, detail, word, tone } = next.dataset;
    // Who decided is news once; after that, what became of it.
    const said = (decision !== pane().dataset.decision && detail) || word;
    news = isMine || next.dataset.code === HELD ? null : { text: `${said} just now`, tone };
  }
  // Held again after one's own undo: what comes now is by others.
  isMine &&= next.dataset.code !== HELD;
  // What was only under way is over once the message has moved.
  const stays = hasMoved ? "[data-kept]" : "[data-kept], [data-notice]";
  const ticked = all("#decide .ack :checked").map(({ value }) => value);
  // What asks for itself at this moment stays, so that its answer finds it.
  const claim = byId("claim");
  if (claim?.matches(".htmx-request")) next.querySelector("#claim")?.replaceWith(claim);
  let isLost = false;
  for (const id of PARTS) {
    const [old, fresh] = [byId(id), next.querySelector(`#${id}`)];
    if (!old || !fresh || (id === "decide" && keeps && missed)) continue;
    // A thread that was opened stays so until it has grown.
    if (id === "thread" && old.dataset.thread === fresh.dataset.thread) continue;
    // What was refused, and what somebody had typed then, is not wiped away because the desk has looked again.
    if (keeps) fresh.prepend(...old.querySelectorAll(stays));
    isLost = !replace(old, fresh) || isLost;
  }
  delete pane().dataset.moving;
  delete pane().dataset.next;
  Object.assign(pane().dataset, next.dataset);
  for (const box of all("#decide .ack input")) box.checked ||= ticked.includes(box.value);
  if (isLost) focusNotice();
  painted();
  return true;
}

/* The message is another by now; what stands here is what was opened. */
function showChanged() {
  follow();
  if (news?.since) return;
  news = { since: pane().dataset.fingerprint };
  showNews();
}

function loadChanges(since) {
  const url = new URL(pane().dataset.url, location.href);
  url.searchParams.set("since", since);
  window.htmx.ajax("GET", `${url.pathname}${url.search}`, { target: "#message", swap: "outerHTML" });
}

function focusNotice() {
  focusOn(find("#decide details[open] textarea") ?? find("#message [data-focus]"));
}

/* What somebody else did to the message while it was being read. */
function showNews() {
  const notes = byId("message-notes");
  notes?.querySelector("[data-news]")?.remove();
  if (!notes || !news) return;
  const { text, tone, since, isSaid } = news;
  const texts = { title: text, words: isInHand() && "Show it" };
  const box = since ? noticeOf("a-new-version", {}, "amber") : noticeOf("a-change", texts, tone);
  if (!isSaid) say(box.querySelector("strong").textContent);
  news.isSaid = true;
  const show = () => (since ? loadChanges(since) : refresh({ isWished: true }));
  box.querySelector("button")?.addEventListener("click", show);
  notes.prepend(box);
}

/* What was heard of the message that gives way says nothing about the next one. */
function forget() {
  news = null;
  asked += 1;
}

/* What was typed about a message is put back: after an undo, a refusal, a change of the message, or a look at another
   one. */
const fields = () => all("#decide :is(textarea, [name=preset], [type=checkbox][name=thread_read]), #comment-text");
const isTick = (field) => field.matches("[type=radio], [type=checkbox]");
const isChosen = (field) => (isTick(field) ? field.checked && field.value : isTyped(field));
const nameOf = (field) => [field.form.elements.outcome?.value, field.name, isTick(field) ? field.value : ""].join(" ");

function keep() {
  const typed = fields().filter(isChosen).map((field) => [nameOf(field), field.value]);
  kept.set(openId(), new Map(typed));
}

function putBack() {
  const typed = kept.get(openId());
  const empty = fields().filter((field) => typed?.has(nameOf(field)) && !isChosen(field));
  for (const field of empty) {
    if (isTick(field)) field.checked = true;
    else Object.assign(field, { value: typed.get(nameOf(field)) }).dataset.typed = "";
  }
  const note = find("#changed [data-typed-note]");
  if (note) note.hidden = empty.every(({ type }) => type === "checkbox");
}

/* Something happened to the message: the desk is asked, and its answer paints everything that says so. What somebody
   has in hand stays. */
on("desk:hint", ({ message, action }) => {
  if (!isOpen(message) || action === "message.held") return;
  if (action === "message.changed" && pane().dataset.fingerprint) showChanged();
  else refreshSoon();
});
// What is leaving waits from now on, or goes at last.
on("desk:stopped", () => pane()?.hasAttribute("data-moving") && refreshSoon());
// The pulse knows of the open message too: a page whose stream is not there learns by it.
on("desk:pulse", ({ open }) => {
  if (!isOpen(open?.id) || isAsking()) return;
  const { fingerprint, code, late } = pane().dataset;
  if (fingerprint && open.fingerprint !== fingerprint) showChanged();
  // A letter may have come into the thread while nobody listened.
  else if (open.fingerprint !== fingerprint || open.code !== code || open.late !== late) refreshSoon();
});
// What becomes of one's own press is no news.
on("htmx:beforeRequest", ({ target, requestConfig: { verb, path } }) => {
  // A part that asks for itself is no answer about the message.
  if (verb === "get" && target.id !== "message") return;
  isMine = verb === "post" && /\/(undo|send-again)\/$/.test(new URL(path, location.href).pathname);
});

on("htmx:beforeSwap", (detail) => {
  const { target, xhr, requestConfig, shouldSwap } = detail;
  if (!shouldSwap) return;
  if (target.matches(".just")) {
    detail.shouldSwap = false;
    // Another message may stand there by now, and this one be set aside.
    if (pane().contains(target)) putNotice(target, parse(xhr.responseText).getElementById("just"));
  }
  if (target.id !== "message") return;
  isMine &&= xhr.status < 300;
  forget();
  detail.shouldSwap = requestConfig?.verb !== "post" || !paint(parse(xhr.responseText).getElementById("message"));
  if (detail.shouldSwap) emit("desk:leave");
  else focusNotice();
});

/* The notice over the message asks for itself (hx-get). What says the same as before is not said again. */
function putNotice(old, fresh) {
  if (old.querySelector("#decided")?.dataset.says === fresh.querySelector("#decided")?.dataset.says) return;
  if (!replace(old, fresh)) focusOn(byId("decided") ?? byId("subject"));
  const id = byId("decided")?.dataset.message;
  if (id) emit("desk:row", { id });
}

/* Another message stands in the pane. */
function shown() {
  const { message, page } = pane().dataset;
  // An undo, say, leads to a message whose address is another than the one that stands above.
  if (page && new URL(page, location.href).pathname !== location.pathname) history.pushState({ htmx: true }, "", page);
  isMine = false;
  document.body.classList.toggle("is-reading", Boolean(message) || pane().classList.contains("finished"));
  if (matchMedia("(width <= 640px)").matches) scrollTo(0, 0);
  const isUnasked = openId() === document.body.dataset.unasked;
  if (!isUnasked) {
    delete document.body.dataset.unasked;
    reportOpened();
  }
  painted();
  // Who was quicker than this already writes: the next letters typed must not become commands.
  if (isUnasked || document.activeElement.matches("#message :is(input, textarea, select)")) return;
  const decided = byId("decided");
  const notice = decided ?? find("#message .notice[data-focus]") ?? byId("changed");
  (notice ?? byId("subject") ?? pane()).focus({ preventScroll: !notice || notice === decided });
}

onLoad("list", callPage);
onLoad("message", shown);
onLoad("message", putBack);
on("desk:leave", forget);
on("desk:leave", keep);
on("desk:just", (fresh) => putNotice(byId("just"), fresh));
on("desk:returned", () => {
  isMine = false;
  painted();
  focusNotice();
});
on("desk:answer", (next) => {
  asked += 1;
  if (paint(next)) focusNotice();
  else swap(next);
});
on("desk:repaint", (next) => {
  missed = isInHand();
  paint(next, { keeps: true });
});
on("desk:recheck", refreshSoon);
document.addEventListener("toggle", ({ target }) => {
  if (missed && !target.open && target.closest?.("#decide")) refreshSoon();
}, true);

if (pane()?.dataset.message) {
  follow();
  // A plain page load was noted by the server itself, but for one that was made ready before anybody looked at it.
  if (document.prerendering) document.addEventListener("prerenderingchange", reportOpened, { once: true });
  // An answer that kept what was typed starts where it went wrong.
  if (find("#message-notes [data-focus]")) focusNotice();
}
byId("decided")?.focus({ preventScroll: true });

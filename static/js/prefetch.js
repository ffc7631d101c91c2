/* Deciding without a wait: the press shows its result at once. The next message is fetched ahead, by a GET that changes
   nothing, and is on screen while the verdict is on its way. Verdicts are sent one after the other: where one is
   refused or lost, its message comes back as it was left, and what was pressed after it is not sent.
   One press is one decision: what was not on screen for a moment is not decided by the rest of a double press. */
const { all, begin, byId, emit, find, getPage, isPage, isReplacing, note, noticeOf, on, onKey, onLoad } = window.desk;
const { pane, parse, post, refuse, say, swap, trouble } = window.desk;
const GUARD = 400;
// The message that comes next: its address, and its id and article once they are here.
let ahead = null;
let guarded = 0;
// The last press: when it happened, which is earlier than when a busy page handles it, and whether it is the rest of
// a double click, however late it comes.
let pressed = { at: 0, isRest: false };
let sending = Promise.resolve();
let returns = 0;

/* Two messages are in the page at once, and only one of them may own the names. The other one is laid out, but neither
   seen nor within reach. */
function setAside(article, isAside) {
  const [from, to] = isAside ? ["id", "data-id-ahead"] : ["data-id-ahead", "id"];
  for (const one of [article, ...all(`[${from}]`, article)]) {
    one.setAttribute(to, one.getAttribute(from));
    one.removeAttribute(from);
  }
  article.inert = isAside;
}

function forget() {
  ahead?.article?.remove();
  ahead = null;
}

/* Its frame loads as well, so that the letter itself is there at once. Without it the answer brings the next one. */
async function fetchAhead() {
  const url = pane()?.dataset.next;
  if (ahead?.url === url) return;
  forget();
  if (!url) return;
  const mine = { url };
  ahead = mine;
  const article = (await getPage(url, { "X-Purpose": "prefetch" }))?.getElementById("message");
  if (ahead !== mine) return;
  const id = article?.dataset.message;
  // The list ends with what is being decided: nothing comes next.
  const isLeaving = find(`.leaves[data-message="${id}"]`);
  if (!article?.dataset.fingerprint || pane()?.dataset.next !== url || isLeaving) return forget();
  setAside(article, true);
  pane().after(article);
  Object.assign(ahead, { id, article });
}

const plan = () => setTimeout(fetchAhead, 30);

const send = (body, action) =>
  post(action, body, { "HX-Request": "true" })
    .then(async (response) => ({ response, text: await response.text() }))
    .catch(() => ({ text: "" }));

const isSaid = (body) => body.get("outcome") === "approve" || body.get("reason").trim() || body.get("preset");

function decide(form) {
  const from = pane();
  if (pressed.isRest || pressed.at < guarded) {
    return refuse("One press decides one message. Read this one, then press again.");
  }
  // Its answer would put a second message into the page, under the one that is painted now.
  if (isReplacing()) return refuse("Another message is being opened. Nothing was decided.");
  if ("deciding" in from.dataset) return refuse("The decision on this message is on its way.");
  // On a phone the page is what scrolls. Asked for later, it would cost a layout of the page.
  const press = { from, id: from.dataset.message, shown: null, box: null, top: scrollY };
  from.dataset.deciding = "";
  guarded = performance.now() + GUARD;
  const body = new URLSearchParams(new FormData(form));
  const action = form.getAttribute("action");
  all("form[data-verdict] button", from).forEach((button) => button.setAttribute("aria-busy", "true"));
  const before = returns;
  if (isSaid(body)) show(press, form.dataset);
  sending = sending
    .then(async () => {
      // That it was opened comes first in the ledger; a desk that is slow about it holds no verdict up.
      await Promise.race([from.reported, new Promise((done) => setTimeout(done, 2000))]);
      return before === returns ? settle(await send(body, action), press) : drop(press);
    })
    .finally(() => {
      delete from.dataset.deciding;
      all("[aria-busy]", from).forEach((button) => button.removeAttribute("aria-busy"));
      plan();
    });
}

/* The result is seen before it is recorded: in the row, in the notice, and in the next message where it is here. Its
   form says in which words. */
function show(press, { verdict, done }) {
  const { from, id } = press;
  press.box = recording(done, subjectOf(from));
  emit("desk:row", { id, word: verdict });
  from.classList.add("leaves");
  if (ahead?.article && ahead.url === from.dataset.next) {
    press.shown = paintAhead(from, press.box);
    from.scrollTop = press.top;
  } else byId("just").replaceChildren(press.box);
}

function paintAhead(from, box) {
  const { article } = ahead;
  ahead = null;
  emit("desk:leave");
  setAside(from, true);
  setAside(article, false);
  if (box) byId("just").replaceChildren(box);
  begin(article);
  return article;
}

const subjectOf = (article) => article.querySelector(".subject-line")?.textContent.trim() ?? "";

/* What is certain so far: that it was pressed. */
function recording(title, subject) {
  const box = noticeOf("a-recording", { title, text: subject });
  const undo = box.querySelector("button");
  undo.addEventListener("click", () => {
    box.dataset.undo = "";
    undo.disabled = true;
    say("It will be undone as soon as it is recorded.");
  });
  return box;
}

function settle({ response, text }, press) {
  const next = isPage(text) ? null : parse(text).getElementById("message");
  if (next && response.status === 200) return goOn(next, press);
  // To press again is what is wanted now, unless another message was on screen until now.
  guarded = press.shown ? performance.now() + GUARD : 0;
  returns += 1;
  comeBack(press);
  // A second factor is missing: it is set up or proved there.
  const to = response?.headers.get("HX-Redirect");
  if (to) return location.assign(to);
  if (next && [403, 409, 422].includes(response.status)) emit("desk:answer", next);
  else trouble(response?.url, text, "verdict");
}

function goOn(next, { from, id, shown, box }) {
  const isUndone = box && "undo" in box.dataset;
  const code = next.querySelector("#decided")?.dataset.code;
  if (pane() === from) {
    guarded = performance.now() + GUARD;
    swap(next);
  } else {
    Promise.allSettled(from.getAnimations().map((one) => one.finished)).then(() => from.remove());
    // Another one may have been pressed since: its notice stays.
    if (isUndone || !box || box.isConnected) emit("desk:just", next.querySelector("#just"));
    graft(next, shown);
  }
  emit("desk:row", { id, code });
  emit("desk:recorded");
  if (!isUndone) return;
  const undo = find("#just [data-key=z]");
  if (undo) undo.click();
  else note({ id: "not-undone", title: "It was too late to undo.", text: subjectOf(from) });
}

/* What is being read stays, whatever the desk would have shown. */
function graft(next, shown) {
  if (!shown || pane() !== shown || "deciding" in shown.dataset) return;
  const isIt = next.dataset.message === shown.dataset.message;
  if (isIt && next.dataset.fingerprint === shown.dataset.fingerprint) emit("desk:repaint", next);
  else emit("desk:recheck");
}

function comeBack({ from, id, shown, box }) {
  from.classList.remove("leaves");
  box?.remove();
  emit("desk:row", { id, isBack: true });
  if (shown && from.isConnected) {
    const current = pane();
    emit("desk:leave");
    setAside(from, false);
    current?.remove();
    if (current !== shown) shown.remove();
    history.replaceState({ htmx: true }, "", from.dataset.page);
  }
  emit("desk:returned");
}

/* An earlier one came back, so this one was not sent: it waits again, and what was typed is kept. */
function drop({ from, id }) {
  from.remove();
  emit("desk:row", { id, isBack: true });
  const text = `It is waiting again: ${subjectOf(from)}`;
  note({ id: "dropped", tone: "amber", title: "Another decision was not recorded.", text });
}

for (const name of ["keydown", "click"]) {
  document.addEventListener(name, ({ isTrusted, timeStamp, detail }) => {
    // A key presses the button by a click of its own, which is not trusted.
    if (isTrusted) pressed = { at: timeStamp, isRest: name === "click" && detail > 1 };
  }, true);
}

/* A row whose message is here already, as by the key for the next one. */
document.addEventListener("click", (event) => {
  const item = event.target.closest?.("#list .item");
  if (!item || item.dataset.message !== ahead?.id) return;
  event.preventDefault();
  event.stopPropagation();
  window.htmx.trigger(item.closest("ol"), "htmx:abort");
  const from = pane();
  paintAhead(from);
  from.remove();
  emit("desk:recheck");
}, true);
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-verdict]")) return;
  event.preventDefault();
  decide(event.target);
});
// What is fetched ahead must not be older than what is known of it.
function doubt({ message, kind }) {
  if (!ahead?.url.includes(message)) return;
  forget();
  if (kind === "beside") plan();
  else emit("desk:recheck");
}
on("desk:hint", doubt);
on("desk:beside", doubt);
/* One after the other, back to the first that can still be undone: the desk knows which, also after a reload. */
onKey("undo", () => {
  if (!pane()) return refuse();
  const url = `/queue/undo/${location.search}`;
  const undo = () => window.htmx.ajax("POST", url, { target: "#message", swap: "outerHTML" });
  // What was pressed before is recorded first. Where it fails, the page says so.
  sending = sending.then(undo).catch(() => {});
});
on("desk:painted", plan);
on("desk:leave", forget);
// What opened itself is not decided by a key that was meant for something else.
onLoad("message", () => {
  if ("unasked" in document.body.dataset) guarded = performance.now() + GUARD;
});
if (pane()?.dataset.next) plan();

/* Follows what people leave at messages: claims, snoozes and questions, by live hints, and by the pulse where there is
   no stream. The desk draws all of it. */
const { HELD, emit, getPage, row, say } = window.desk;
const me = document.body.dataset.me;
const pane = () => document.getElementById("message");
const isOpen = (id) => pane()?.dataset.message === id;
const shownHolder = () => document.getElementById("claim")?.dataset.holder ?? "";
let isLate = false;
let asking = 0;

/* Parts that somebody is using stay as they are until they are done with them. */
const isBusy = (part) => Boolean(part.querySelector("details[open]:not(.more), #ask-title"));

async function refresh() {
  const id = pane()?.dataset.message;
  if (!id) return;
  // The answer to one's own press paints, and finds its place only while what was pressed is still there.
  isLate = asking > 0;
  if (isLate) return;
  const address = pane().dataset.opened.replace(/opened\/$/, "beside/");
  const page = await getPage(address + location.search).catch(() => null);
  if (!page || !isOpen(id)) return;
  for (const name of ["claim", "beside-acts", "story"]) {
    const [old, fresh] = [document.getElementById(name), page.getElementById(name)];
    if (!old || !fresh) continue;
    if (asking || isBusy(old)) isLate = true;
    else replace(old, fresh);
  }
}

function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  fresh.removeAttribute("hx-swap-oob");
  fresh.querySelector(".more")?.toggleAttribute("open", Boolean(old.querySelector(".more[open]")));
  old.replaceWith(fresh);
  window.htmx.process(fresh);
  if (focused) document.getElementById(focused)?.focus();
}

function refreshIfLate() {
  if (!isLate || asking) return;
  isLate = false;
  refresh();
}

document.addEventListener("desk:beside", ({ detail: { action, message, person, name, asked } }) => {
  const isMine = person === me;
  const isClaim = action.startsWith("claim.");
  if (isClaim || isMine) emit("desk:row", { id: message });
  if (isOpen(message)) {
    const isTaken = action === "claim.taken";
    if (isTaken && !isMine) say(`${name} claimed this message`);
    const isSeen = isClaim && shownHolder() === (isTaken ? person : "");
    if (action === "comment.added" || (isClaim && !isSeen)) refresh();
  }
  if (asked?.includes(me)) say(`Question from ${name}`);
  if (isMine && action === "snooze.ended" && !row(message)) {
    emit("desk:hint", { kind: "new", action, message, ...HELD });
  }
  if (isMine || asked?.includes(me)) emit("desk:ask-pulse");
});

document.addEventListener("desk:pulse", ({ detail: pulse }) => {
  if (!pulse.holders) return;
  const isNews = (id, shown) => id && shown !== (pulse.holders[id] ?? "");
  for (const item of document.querySelectorAll("#list .item")) {
    const { message } = item.dataset;
    const shown = item.querySelector("[data-held-by]")?.dataset.heldBy ?? "";
    if (isNews(message, shown)) emit("desk:row", { id: message });
  }
  if (isNews(pane()?.dataset.message, shownHolder())) refresh();
});

document.addEventListener("toggle", ({ target }) => {
  if (target.closest?.("#beside-acts") && !target.open) refreshIfLate();
}, true);
document.addEventListener("desk:refresh-beside", refresh);
document.addEventListener("htmx:beforeRequest", ({ detail: { elt, xhr } }) => {
  if (!elt.closest("#beside-acts")) return;
  asking += 1;
  xhr.addEventListener("loadend", () =>
    setTimeout(() => {
      asking -= 1;
      refreshIfLate();
    }));
});
document.addEventListener("htmx:load", ({ detail: { elt } }) => {
  if (elt.id === "claim" && pane()) emit("desk:ask-pulse");
});

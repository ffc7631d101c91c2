/* What people leave at messages: claims, snoozes, questions and comments, by live hints, and by the pulse where there
   is no stream. The desk draws all of it: #claim asks for it (hx-get), and the answer brings the rest. */
const { HELD, all, byId, emit, on, onLoad, openId, pane, row, say } = window.desk;
const { me } = document.body.dataset;
const shownHolder = () => byId("claim")?.dataset.holder ?? "";
const isPressed = () => Boolean(document.querySelector("#beside-acts .htmx-request"));
let isLate = false;

/* The answer to one's own press paints, and finds its place only while what was pressed is still there. */
function refresh() {
  isLate = isPressed();
  if (!isLate && byId("claim")) window.htmx.trigger("#claim", "refresh");
}

const refreshIfLate = () => isLate && refresh();

on("htmx:beforeSwap", (detail) => {
  const { target, requestConfig } = detail;
  if (!target.matches("#claim, [data-id-ahead=claim]")) return;
  // Another message stands there by now, and this one is set aside: the answer must not reach the other's buttons.
  const isOver = !pane().contains(target);
  if (!isOver && (requestConfig.verb === "post" || !isPressed())) return;
  detail.shouldSwap = false;
  if (isOver) setTimeout(refresh);
  else isLate = true;
});
/* Parts that somebody is using stay as they are until they are done with them. */
on("htmx:oobBeforeSwap", (detail) => {
  const { target, fragment } = detail;
  if (target.id !== "beside-acts" || isPressed()) return;
  isLate = Boolean(target.querySelector("details[open]:not(.more), #ask-title"));
  detail.shouldSwap = !isLate;
  fragment.querySelector(".more").open = target.querySelector(".more").open;
});
on("htmx:afterRequest", ({ target, requestConfig }) => {
  if (target?.id !== "claim" || requestConfig.verb !== "post") return;
  emit("desk:ask-pulse");
  refreshIfLate();
});
document.addEventListener("toggle", ({ target }) => {
  if (target.id === "snooze" && target.open) target.querySelector("button")?.focus();
  if (target.closest?.("#beside-acts") && !target.open) refreshIfLate();
}, true);

on("desk:beside", ({ action, message, person, name, asked }) => {
  const isMine = person === me;
  const isClaim = action.startsWith("claim.");
  if (isClaim || isMine) emit("desk:row", { id: message });
  if (openId() === message) {
    const isTaken = action === "claim.taken";
    if (isTaken && !isMine) say(`${name} claimed this message`);
    const isSeen = shownHolder() === (isTaken ? person : "");
    if (action === "comment.added" || (isClaim && !isSeen)) refresh();
  }
  if (asked?.includes(me)) say(`Question from ${name}`);
  if (isMine && action === "snooze.ended" && !row(message)) {
    emit("desk:hint", { kind: "new", action, message, ...HELD });
  }
  if (isMine || asked?.includes(me)) emit("desk:ask-pulse");
});
on("desk:pulse", ({ holders }) => {
  const isNews = (id, shown) => id && shown !== (holders[id] ?? "");
  for (const item of all("#list .item")) {
    const id = item.dataset.message;
    if (isNews(id, item.querySelector("[data-held-by]")?.dataset.heldBy ?? "")) emit("desk:row", { id });
  }
  if (isNews(openId(), shownHolder())) refresh();
});

document.addEventListener("click", (event) => {
  const { target } = event;
  if (target.closest?.("#comment-button")) {
    event.preventDefault();
    byId("comment-text")?.scrollIntoView({ block: "center" });
    byId("comment-text")?.focus({ preventScroll: true });
  } else if (target.closest?.("[data-leave-it]")) {
    event.preventDefault();
    target.closest(".ask").remove();
    byId("claim-button")?.focus();
    refresh();
  }
});

document.addEventListener("keydown", (event) => {
  const { target, key, repeat } = event;
  const isHeld = event.ctrlKey || event.metaKey;
  if (target.id === "comment-text" && key === "Enter" && isHeld && !repeat) return target.form.requestSubmit();
  if (target.matches("form.comment textarea") && key === "Escape") {
    target.blur();
    return pane().focus({ preventScroll: true });
  }
  if (isHeld || event.altKey || repeat || !target.closest("#snooze[open]") || target.matches("input")) return;
  const choice = { 1: "button[value=hour]", 2: "button[value=tomorrow]", 3: "#snooze-at" }[key];
  const chosen = choice && document.querySelector(`#snooze ${choice}`);
  if (!chosen) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (key === "3") chosen.focus();
  else chosen.click();
}, true);

/* What completes names is loaded when a comment is begun. */
document.addEventListener("focusin", ({ target }) => {
  if (target.id === "comment-text") import(target.form.dataset.script).catch(() => {});
});
onLoad("comments", (section) => section.querySelector(".outcome") && section.focus({ preventScroll: true }));

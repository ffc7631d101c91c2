/* What people leave at messages: claims, snoozes, questions and comments, by live hints, and by the pulse where there
   is no stream. The desk draws all of it: #claim asks for it (hx-get), and the answer brings the rest. */
const { HELD, all, byId, emit, find, on, onLoad, onPress, openId, pane, row, say } = window.desk;
const { me } = document.body.dataset;
const shownHolder = () => byId("claim")?.dataset.holder ?? "";
const isPressed = () => Boolean(find("#beside-acts .htmx-request"));

/* The answer to one's own press paints, and finds its place only while what was pressed is still there. What is not
   painted now is painted with all else, once nobody uses it. */
function refresh() {
  if (isPressed()) emit("desk:recheck");
  else if (byId("claim")) window.htmx.trigger("#claim", "refresh");
}

on("htmx:beforeSwap", (detail) => {
  const { target, requestConfig } = detail;
  if (!target.matches("#claim, [data-id-ahead=claim]")) return;
  // Another message stands there by now, and this one is set aside: the answer must not reach the other's buttons.
  const isOver = !pane().contains(target);
  if (!isOver && (requestConfig.verb === "post" || !isPressed())) return;
  detail.shouldSwap = false;
  emit("desk:recheck");
});
on("htmx:oobBeforeSwap", (detail) => {
  const { target, fragment } = detail;
  if (target.id !== "beside-acts" || isPressed()) return;
  detail.shouldSwap = !target.querySelector("details[open]:not(.more), #ask-title");
  if (!detail.shouldSwap) emit("desk:recheck");
  fragment.querySelector(".more").open = target.querySelector(".more").open;
});
on("htmx:afterRequest", ({ target, requestConfig }) => {
  if (target?.id === "claim" && requestConfig.verb === "post") emit("desk:ask-pulse");
});
document.addEventListener("toggle", ({ target }) => {
  if (target.id === "snooze" && target.open) target.querySelector("button")?.focus();
}, true);

on("desk:beside", ({ action, message, person, name, asked }) => {
  const isMine = person === me;
  const isClaim = action.startsWith("claim.");
  if (isClaim || isMine) emit("desk:row", { id: message });
  if (openId() === message) {
    const isTaken = action === "claim.taken";
    if (isTaken && !isMine) say(`${name} claimed this message`);
    const isSeen = shownHolder() === (isTaken ? person : "");
    // The answer to one's own press says it too.
    const isOwn = isMine && isPressed();
    if (!isOwn && (action === "comment.added" || (isClaim && !isSeen))) refresh();
  }
  if (asked?.includes(me)) say(`Question from ${name}`);
  const isBack = isMine && action === "snooze.ended" && !row(message);
  if (isBack) emit("desk:hint", { kind: "new", action, message, code: HELD });
  if (isMine || asked?.includes(me)) emit("desk:ask-pulse");
});
on("desk:pulse", ({ holders }) => {
  const isNews = (id, shown) => id && shown !== (holders[id] ?? "");
  for (const { dataset: { message: id, heldBy = "" } } of all("#list .item")) {
    if (isNews(id, heldBy)) emit("desk:row", { id });
  }
  if (isNews(openId(), shownHolder())) refresh();
});

onPress("#comment-button", (_, event) => {
  event.preventDefault();
  byId("comment-text")?.focus();
});
onPress("[data-leave-it]", (link, event) => {
  event.preventDefault();
  link.closest(".ask").remove();
  byId("claim-button")?.focus();
  refresh();
});

/* What completes names is loaded when a comment is begun. */
document.addEventListener("focusin", ({ target }) => {
  if (target.id === "comment-text") import(target.form.dataset.script).catch(() => {});
});
onLoad("comments", (section) => section.querySelector(".outcome") && section.focus({ preventScroll: true }));

/* Putting a message off, and commenting on it: the small comforts of forms that work without this. */
const { emit } = window.desk;
const find = (selector) => document.querySelector(selector);

function writeComment() {
  const field = document.getElementById("comment-text");
  if (!field) return;
  field.scrollIntoView({ block: "center" });
  field.focus({ preventScroll: true });
}

document.addEventListener("toggle", ({ target }) => {
  if (target.id === "snooze" && target.open) target.querySelector("button")?.focus();
}, true);

document.addEventListener("click", (event) => {
  if (event.target.closest?.("#comment-button")) {
    event.preventDefault();
    writeComment();
  } else if (event.target.closest?.("[data-leave-it]")) {
    event.preventDefault();
    event.target.closest(".ask").remove();
    document.getElementById("claim-button")?.focus();
    emit("desk:refresh-beside");
  }
});

document.addEventListener("keydown", (event) => {
  if (
    event.target.id === "comment-text" && event.key === "Enter" && (event.ctrlKey || event.metaKey) &&
    !event.repeat
  ) {
    event.target.form.requestSubmit();
    return;
  }
  if (event.target.matches("form.comment textarea") && event.key === "Escape") {
    event.target.blur();
    document.getElementById("message").focus({ preventScroll: true });
    return;
  }
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
  if (!isPlain || !event.target.closest("#snooze[open]") || event.target.matches("input")) return;
  const choice = { 1: "button[value=hour]", 2: "button[value=tomorrow]", 3: "#snooze-at" }[event.key];
  const chosen = choice && find(`#snooze ${choice}`);
  if (!chosen) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (event.key === "3") chosen.focus();
  else chosen.click();
}, true);

/* What completes names is loaded when a comment is begun. */
document.addEventListener("focusin", ({ target }) => {
  if (target.id === "comment-text") import(target.form.dataset.script).catch(() => {});
});
document.addEventListener("htmx:load", ({ detail: { elt } }) => {
  if (elt.id === "comments" && elt.querySelector(".outcome")) elt.focus({ preventScroll: true });
});

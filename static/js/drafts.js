/* Keeps what was typed about a message and puts it back: after an undo, a refusal, a change of the message, or a look
   at another one. */
const { all, isTyped, on, onLoad, openId } = window.desk;
const kept = new Map();
const fields = () => all("#decide textarea, #decide [name=preset], #comment-text");
const isChosen = (field) => (field.type === "radio" ? field.checked && field.value : isTyped(field));
const nameOf = (field) =>
  [field.form.elements.outcome?.value, field.name, field.type === "radio" ? field.value : ""].join(" ");

function keep() {
  const typed = fields().filter(isChosen).map((field) => [nameOf(field), field.value]);
  kept.set(openId(), new Map(typed));
}

function putBack() {
  const typed = kept.get(openId());
  const empty = fields().filter((field) => typed?.has(nameOf(field)) && !isChosen(field));
  for (const field of empty) {
    if (field.type === "radio") field.checked = true;
    else Object.assign(field, { value: typed.get(nameOf(field)) }).dataset.typed = "";
  }
  const note = document.querySelector("#changed [data-typed-note]");
  if (note) note.hidden = !empty.length;
}

on("desk:leave", keep);
on("htmx:beforeSwap", ({ target, shouldSwap }) => target.id === "message" && shouldSwap && keep());
on("desk:shown", putBack);
onLoad("message", putBack);

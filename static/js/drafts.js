/* Keeps what was typed about a message and puts it back: after an undo, a refusal, a change of the message, or a look
   at another one. */
const { all, isTyped, on, onLoad, openId } = window.desk;
const kept = new Map();
const fields = () => all("#decide :is(textarea, [name=preset], [type=checkbox][name=thread_read]), #comment-text");
const isTick = (field) => field.matches("[type=radio], [type=checkbox]");
const isChosen = (field) => (isTick(field) ? field.checked && field.value : isTyped(field));
const nameOf = (field) => [field.form.elements.outcome?.value, field.name, isTick(field) ? field.value : ""].join(" ");

on("desk:leave", () => {
  const typed = fields().filter(isChosen).map((field) => [nameOf(field), field.value]);
  kept.set(openId(), new Map(typed));
});
onLoad("message", () => {
  const typed = kept.get(openId());
  const empty = fields().filter((field) => typed?.has(nameOf(field)) && !isChosen(field));
  for (const field of empty) {
    if (isTick(field)) field.checked = true;
    else Object.assign(field, { value: typed.get(nameOf(field)) }).dataset.typed = "";
  }
  const note = document.querySelector("#changed [data-typed-note]");
  if (note) note.hidden = empty.every(({ type }) => type === "checkbox");
});

/* Keeps what was typed about a message and puts it back: after an undo, a refusal, or a look at another message. */
(() => {
  "use strict";
  const kept = new Map();
  const pane = () => document.getElementById("message");
  const fields = () => [...document.querySelectorAll("#decide textarea, #decide [name=preset]")];
  const isChosen = (
    field,
  ) => (field.type === "radio"
    ? field.checked && field.value
    : field.value.trim() && field.value !== field.defaultValue);
  const nameOf = (field) =>
    `${field.form.elements.outcome.value} ${field.name} ${field.type === "radio" ? field.value : ""}`;

  function keep() {
    const id = pane()?.dataset.message;
    if (!id) return;
    const typed = fields().filter(isChosen).map((field) => [nameOf(field), field.value]);
    if (typed.length) kept.set(id, new Map(typed));
    else kept.delete(id);
  }

  function putBack() {
    const typed = kept.get(pane()?.dataset.message);
    if (!typed || document.getElementById("changed")) return;
    for (const field of fields()) {
      if (!typed.has(nameOf(field))) continue;
      if (field.type === "radio") field.checked = true;
      else if (!field.value.trim() || field.value === field.defaultValue) {
        Object.assign(field, { value: typed.get(nameOf(field)) }).dataset.typed = "";
      }
    }
  }

  document.addEventListener("desk:leave", keep);
  document.addEventListener("htmx:beforeSwap", ({ detail: { target, shouldSwap } }) => {
    if (target.id === "message" && shouldSwap) keep();
  });
  document.addEventListener("desk:shown", putBack);
  document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    if (elt.id === "message") putBack();
  });
})();

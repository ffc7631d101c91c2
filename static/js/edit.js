/* Keeps the preview of an edited message up to date while it is typed. Without scripts its button does it. */
const form = document.getElementById("edit");
const button = document.getElementById("preview-button");

// Where the message cannot be edited, the page says why.
if (form && button) {
  const text = form.elements.markdown;
  let waits = 0;
  const update = () => form.requestSubmit(button);
  text.addEventListener("input", () => {
    clearTimeout(waits);
    waits = setTimeout(update, 400);
  });
  addEventListener("beforeunload", (event) => {
    if (text.value !== text.defaultValue && form.dataset.asks !== "sent") event.preventDefault();
  });
  if (text.value !== text.defaultValue || document.getElementById("edit-problem")) update();
}

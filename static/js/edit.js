/* Keeps the preview of a corrected message up to date while it is typed. Without scripts its button does it. */
const form = document.getElementById("edit");
const button = document.getElementById("preview-button");

function begin() {
  const text = form.elements.markdown;
  let waits = 0;
  const update = () => form.requestSubmit(button);
  text.addEventListener("input", () => {
    clearTimeout(waits);
    waits = setTimeout(update, 400);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.repeat || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.querySelector(".acts button").click();
  });
  // Two presses of one button are one.
  form.addEventListener("submit", (event) => {
    if (event.submitter === button) return;
    clearTimeout(waits);
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  addEventListener("beforeunload", (event) => {
    if (text.value !== text.defaultValue && !form.dataset.sent) event.preventDefault();
  });
  // A refusal or the way back shows the page again.
  addEventListener("pageshow", () => delete form.dataset.sent);
  if (text.value !== text.defaultValue || document.getElementById("edit-problem")) update();
}

// Where the message cannot be edited, the page says why.
if (form && button) begin();

/* The empty sections of a long form stay away until they are chosen in the box that adds them. */
const all = (selector, root) => [...root.querySelectorAll(selector)];
const fields = (section) => all("input, select, textarea", section);
// Some fields have a value from the beginning.
const isChanged = (field) =>
  field.matches("select")
    ? field.selectedIndex > 0 && !field.selectedOptions[0].defaultSelected
    : field.value !== field.defaultValue || field.checked !== field.defaultChecked;

for (const box of all(".add-section", document)) {
  const sections = all("details", box.parentElement);
  const input = box.querySelector("input");

  const show = (section, isShown) => {
    section.hidden = !isShown;
    box.hidden = sections.every((one) => !one.hidden);
  };
  const add = (section) => {
    if (!section) return;
    if (input) input.value = "";
    show(section, true);
    section.open = true;
    fields(section)[0]?.focus();
  };
  // What the browser fills in again after a way back is shown too.
  const begin = () => sections.forEach((one) => show(one, one.open || fields(one).some(isChanged)));

  box.parentElement.addEventListener("click", ({ target }) => {
    if (target.closest(".add-section button")) add(sections.find((one) => one.hidden));
    const section = target.closest("[data-remove]")?.closest("details");
    if (!section) return;
    for (const field of fields(section)) field.matches("[type=checkbox]") ? field.checked = false : field.value = "";
    show(section, false);
    box.querySelector("input, button").focus();
  });
  input?.addEventListener("input", () => add(sections.find((one) => one.dataset.title === input.value)));
  input?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    // It would send the form.
    event.preventDefault();
    const typed = input.value.trim().toLowerCase();
    const found = sections.filter((one) => one.hidden && one.textContent.toLowerCase().includes(typed));
    const named = found.find((one) => one.dataset.title.toLowerCase().includes(typed));
    if (typed) add(named ?? found[0]);
  });
  begin();
  addEventListener("pageshow", begin);
}

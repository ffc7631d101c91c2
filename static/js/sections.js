/* The empty sections of a long form stay away until they are chosen in the box that adds them. */
const fields = (section) => [...section.querySelectorAll("input, select, textarea")];
// Some fields have a value from the beginning.
const isChanged = (field) =>
  field.matches("[type=checkbox]")
    ? field.checked !== field.defaultChecked
    : field.matches("select")
    ? field.selectedIndex > 0 && !field.options[field.selectedIndex].defaultSelected
    : field.value !== field.defaultValue;

for (const box of document.querySelectorAll(".add-section")) {
  const sections = [...box.parentElement.querySelectorAll("details")];
  const input = box.querySelector("input");
  const next = box.querySelector("button");

  const show = (section, isShown) => {
    section.hidden = !isShown;
    const option = box.querySelector(`[value="${CSS.escape(section.dataset.title)}"]`);
    if (option) option.disabled = isShown;
    box.hidden = sections.every((one) => !one.hidden);
  };
  const add = (section) => {
    if (!section) return;
    if (input) input.value = "";
    show(section, true);
    section.open = true;
    fields(section)[0]?.focus();
  };
  const remove = (section) => {
    for (const field of fields(section)) field.matches("[type=checkbox]") ? field.checked = false : field.value = "";
    show(section, false);
    (input ?? next).focus();
  };
  // What the browser fills in again after a way back is shown too.
  const begin = () => sections.forEach((one) => show(one, one.open || fields(one).some(isChanged)));

  for (const section of sections) {
    section.querySelector("[data-remove]").addEventListener("click", () => remove(section));
  }
  next?.addEventListener("click", () => add(sections.find((one) => one.hidden)));
  input?.addEventListener("input", () => add(sections.find((one) => one.hidden && one.dataset.title === input.value)));
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

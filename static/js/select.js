/* Choosing messages in the list to decide together. It decides nothing by itself. A list that comes anew keeps the
   ticks (hx-preserve). */
const { all, byId, on, onKey, onLoad, refuse, say } = window.desk;
const picks = () => all("#list li:not([hidden]) .pick");
const current = () => document.querySelector("#list .item[aria-current]");
let last = null;

/* The tick that a key means: where the focus is, in the list or on the sheet, else of the row that is open. */
function pickHere() {
  const row = document.activeElement?.closest?.("#rows li, .one") ?? current()?.closest("li");
  return row?.querySelector(".pick, .tick");
}

function toggle(pick) {
  pick?.click();
  if (pick?.matches(".pick")) say(`${pick.checked ? "Selected" : "No longer selected"}, ${shown()} in all`);
}

function tick(rows, checked) {
  for (const pick of rows) pick.checked = checked;
}

function upTo(pick) {
  const rows = picks();
  const to = rows.indexOf(pick);
  if (to < 0) return;
  const begun = rows.findIndex((one) => one.value === last);
  const from = begun < 0 ? to : begun;
  tick(rows.slice(Math.min(from, to), Math.max(from, to) + 1), true);
  last = pick.value;
  say(`${shown()} selected`);
}

function shown() {
  const rows = picks();
  const number = rows.filter((pick) => pick.checked).length;
  const count = document.querySelector("#bulk [data-picked]");
  if (count) count.textContent = `${number} selected`;
  const box = byId("pick-all");
  if (!box) return number;
  box.closest("label").hidden = false;
  box.nextSibling.textContent = ` All ${rows.length}`;
  box.ariaLabel = `Select all ${rows.length} on this page`;
  box.checked = number > 0 && number === rows.length;
  box.indeterminate = number > 0 && number < rows.length;
  return number;
}

document.addEventListener("click", ({ shiftKey, target }) => {
  if (target.id === "pick-all") tick(picks(), target.checked);
  else if (!target.matches?.("#list .pick")) return;
  // With Shift, as in every list: all from the last one to this one.
  else if (shiftKey && last) return upTo(target);
  else last = target.value;
  shown();
});
document.addEventListener("reset", ({ target }) => {
  // The form has fields named `id`, so its own property `id` is those fields.
  if (!target.matches("#bulk")) return;
  last = null;
  setTimeout(() => {
    shown();
    (current() ?? document.querySelector("#list .item"))?.focus();
  });
});
on("desk:folded", shown);
onLoad("list", shown);
onKey("select", () => toggle(pickHere()));
onKey("select-range", () => upTo(pickHere()));
onKey("bulk", () => {
  if (!byId("list")) return;
  if (picks().some((pick) => pick.checked)) byId("bulk").requestSubmit();
  else refuse("Nothing is selected. Press X to select the current message.");
});
shown();

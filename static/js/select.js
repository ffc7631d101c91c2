/* Choosing messages in the list to decide together. It decides nothing by itself. */
const { all, byId, on, onKey, onLoad, say } = window.desk;
const picks = () => all("#list li:not([hidden]) .pick");
const chosen = new Set();
let last = null;

/* The row that a key means: where the focus is, else the one that is open. */
function pickHere() {
  const current = document.querySelector("#list .item[aria-current]");
  const row = document.activeElement?.closest?.("#rows li") ?? current?.closest("li");
  return row?.querySelector(".pick");
}

function set(pick, checked) {
  pick.checked = checked;
  if (checked) chosen.add(pick.value);
  else chosen.delete(pick.value);
}

function toggle(pick) {
  if (!pick) return;
  set(pick, !pick.checked);
  last = pick.value;
  shown();
  say(`${pick.checked ? "Selected" : "No longer selected"}, ${chosen.size} in all`);
}

function upTo(pick) {
  const rows = picks();
  const to = rows.indexOf(pick);
  if (to < 0) return;
  const begun = rows.findIndex((one) => one.value === last);
  const from = begun < 0 ? to : begun;
  rows.slice(Math.min(from, to), Math.max(from, to) + 1).forEach((one) => set(one, true));
  last = pick.value;
  shown();
  say(`${chosen.size} selected`);
}

function shown() {
  const rows = picks();
  const number = rows.filter((pick) => pick.checked).length;
  const count = document.querySelector("#bulk [data-picked]");
  if (count) count.textContent = `${number} selected`;
  const box = byId("pick-all");
  if (!box) return;
  box.closest("label").hidden = false;
  box.nextSibling.textContent = ` All ${rows.length}`;
  box.ariaLabel = `Select all ${rows.length} on this page`;
  box.checked = number > 0 && number === rows.length;
  box.indeterminate = number > 0 && number < rows.length;
}

/* The browser may have ticked what was ticked before; a list that came anew has to be told. */
function learn() {
  picks().forEach((pick) => set(pick, pick.checked || chosen.has(pick.value)));
  shown();
}

document.addEventListener("change", ({ target }) => {
  if (target.id === "pick-all") picks().forEach((pick) => set(pick, target.checked));
  else if (target.matches("#list .pick")) {
    set(target, target.checked);
    last = target.value;
  } else return;
  shown();
});
document.addEventListener("click", ({ shiftKey, target }) => {
  // With Shift, as in every list: all from the last one to this one.
  if (!shiftKey || !target.matches?.("#list .pick") || !last) return;
  const from = last;
  setTimeout(() => {
    last = from;
    upTo(target);
  });
});
document.addEventListener("reset", ({ target }) => {
  // The form has fields named `id`, so its own property `id` is those fields.
  if (!target.matches("#bulk")) return;
  chosen.clear();
  last = null;
  setTimeout(() => {
    shown();
    (document.querySelector("#list .item[aria-current]") ?? document.querySelector("#list .item"))?.focus();
  });
});
on("desk:folded", shown);
onLoad("list", learn);
onKey("select", () => toggle(pickHere()));
onKey("select-range", () => upTo(pickHere()));
onKey("bulk", () => {
  if (!byId("list")) return;
  if (picks().some((pick) => pick.checked)) byId("bulk").requestSubmit();
  else say("Nothing is selected. Press X to select the current message.");
});
learn();

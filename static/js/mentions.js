/* Loaded when a comment is begun: completes names after @. Without it names are typed in full. */
const { byId, getPage, say } = window.desk;
const BEGUN = /(?<![\p{L}\p{N}_.@+-])@([\p{L}\p{N}_][^\n@]{0,60})?$/u;
let list = null;
let active = 0;
let asked = 0;
// What the names are offered for.
let offered = "";
// What begins like this names nobody.
let none = null;
let timer = 0;

const typed = (field) => BEGUN.exec(field.value.slice(0, field.selectionStart));
const isCurrent = (field) => typed(field)?.[0] === `@${offered}`;

function close() {
  asked += 1;
  list?.remove();
  list = null;
  for (const name of ["aria-controls", "aria-activedescendant"]) byId("comment-text")?.removeAttribute(name);
}

function activate(number) {
  active = (number + list.children.length) % list.children.length;
  [...list.children].forEach((one, place) => one.setAttribute("aria-selected", String(place === active)));
  byId("comment-text").setAttribute("aria-activedescendant", list.children[active].id);
  list.children[active].scrollIntoView({ block: "nearest" });
}

async function offer(field) {
  const begun = typed(field);
  if (!begun) none = null;
  const name = begun?.[1] ?? "";
  if (!begun || (none !== null && name.startsWith(none))) return close();
  asked += 1;
  const ask = asked;
  const page = await getPage(`${field.form.dataset.people}?q=${encodeURIComponent(name)}`);
  if (ask !== asked || document.activeElement !== field) return;
  const fresh = page?.getElementById("mentions");
  none = fresh?.children.length ? null : name;
  if (!fresh?.children.length) return close();
  const isNew = !list;
  list?.remove();
  [list, offered] = [fresh, name];
  field.after(list);
  list.style.top = `${field.offsetTop + field.offsetHeight}px`;
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", "mentions");
  activate(0);
  if (isNew) say(`${list.children.length} ${list.children.length === 1 ? "name" : "names"}. Enter takes one.`);
}

function choose(option) {
  const field = byId("comment-text");
  if (!isCurrent(field)) return close();
  const end = field.selectionStart;
  const start = end - typed(field)[0].length;
  none = `${option.dataset.name} `;
  field.setRangeText(`@${none}`, start, end, "end");
  close();
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

const KEYS = {
  ArrowDown: () => activate(active + 1),
  ArrowUp: () => activate(active - 1),
  Enter: () => choose(list.children[active]),
  Tab: () => choose(list.children[active]),
  Escape: close,
};

// Before the keys of the page.
window.addEventListener("keydown", (event) => {
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey;
  if (!list?.isConnected || event.target.id !== "comment-text" || !isPlain || !KEYS[event.key]) return;
  if (!isCurrent(event.target)) return close();
  event.preventDefault();
  event.stopPropagation();
  KEYS[event.key]();
}, true);
document.addEventListener("pointerdown", (event) => {
  const option = event.target.closest?.("#mentions [role=option]");
  if (!option) return;
  event.preventDefault();
  choose(option);
});

function begin({ target }) {
  if (target?.id !== "comment-text") return;
  clearTimeout(timer);
  asked += 1;
  timer = setTimeout(offer, 80, target);
}
document.addEventListener("input", begin);
document.addEventListener("focusout", ({ target }) => target.id === "comment-text" && list && close());
begin({ target: document.activeElement });

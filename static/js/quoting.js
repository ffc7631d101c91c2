/* Loaded when words of a message are selected: offers to quote them in a request for changes. Without it the words are
   pasted. */
const { emit, say } = window.desk;
const MOST = 500;
const GAP = 8;
// Where words of the message are text of the desk's own: nobody can know what is selected in the message's frame.
const TEXTS = "#sheet pre.face.text, #subject";
const byId = (id) => document.getElementById(id);
const form = () => byId("comment-form");

const style = document.createElement("link");
Object.assign(style, { rel: "stylesheet", href: form().dataset.style });
await new Promise((done) => {
  style.onload = style.onerror = done;
  document.head.append(style);
});

let bar = null;
let words = "";
let isPressed = false;

function selection() {
  const all = getSelection();
  if (!all.rangeCount || all.isCollapsed) return null;
  const range = all.getRangeAt(0).cloneRange();
  const { startContainer: start } = range;
  const text = (start.nodeType === Node.ELEMENT_NODE ? start : start.parentElement).closest(TEXTS);
  if (!text) return null;
  if (!text.contains(range.endContainer)) range.setEnd(text, text.childNodes.length);
  return range.toString().trim() ? range : null;
}

function button(text, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "btn", textContent: text });
  made.addEventListener("click", act);
  return made;
}

function makeBar() {
  bar = document.createElement("div");
  bar.className = "quote-bar";
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Selected words");
  bar.append(
    button("Request changes", () => emit("desk:why", byId("send-back"))),
    document.createElement("p"),
  );
  // A press must not take the selection away.
  bar.addEventListener("pointerdown", (event) => event.preventDefault());
  document.querySelector("main").append(bar);
}

function show() {
  const range = isPressed || !byId("send-back") ? null : selection();
  words = range?.toString().trim() ?? "";
  if (!range) return bar?.toggleAttribute("hidden", true);
  if (!bar?.isConnected) makeBar();
  const isLong = words.length > MOST;
  const [change, note] = bar.children;
  change.hidden = isLong;
  note.textContent = isLong ? `Select ${MOST} characters at most.` : "";
  if (bar.hidden || !bar.dataset.shown) say(note.textContent || "The selected words can be quoted.");
  Object.assign(bar, { hidden: false }).dataset.shown = "";
  place(range.getBoundingClientRect());
}

/* Below the words, or above them where there is no room; what the bar is placed in may be moved itself. */
function place(around) {
  Object.assign(bar.style, { left: "0", top: "0" });
  const own = bar.getBoundingClientRect();
  const lowest = (byId("decide")?.getBoundingClientRect().top ?? innerHeight) - own.height - GAP;
  const below = Math.min(around.bottom, innerHeight) + GAP;
  const top = below <= lowest ? below : Math.min(lowest, around.top - own.height - GAP);
  const left = Math.min(Math.max(GAP, around.left), innerWidth - own.width - GAP);
  bar.style.left = `${left - own.left}px`;
  bar.style.top = `${Math.max(GAP, top) - own.top}px`;
}

// Pressed here or by its key, with words selected: they are quoted.
document.addEventListener("desk:why", ({ detail }) => {
  const field = detail.id === "send-back" && byId("send_back-passage");
  if (!field || !words || words.length > MOST) return;
  field.closest("details").open = true;
  field.value = words;
  getSelection().removeAllRanges();
});

document.addEventListener("pointerdown", ({ target }) => {
  if (bar?.contains(target)) return;
  isPressed = true;
  show();
});
for (const name of ["pointerup", "pointercancel"]) {
  document.addEventListener(name, () => {
    isPressed = false;
    requestAnimationFrame(show);
  });
}
document.addEventListener("selectionchange", show);
document.addEventListener("scroll", () => bar && !bar.hidden && show(), { capture: true, passive: true });
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && bar && !bar.hidden) getSelection().removeAllRanges();
});
show();

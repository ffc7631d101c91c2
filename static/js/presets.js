/* Reasons with a number: after the key that opens them a digit chooses one, and sends it where that can be undone. The
   arrows choose, Enter sends, and any letter starts writing. Without it they are choices like any others. */
const { onKey, say } = window.desk;
const why = (element) => element.closest?.("#decide .why[open], #later");
const field = (details) => details.querySelector("textarea, [name=at]");
const begin = (text) => {
  text.focus();
  // What the desk proposed gives way to what is typed; what somebody typed does not.
  if (text.value === text.defaultValue && !("typed" in text.dataset)) text.select();
};

function open(details) {
  details.open = true;
  const hasText = "typed" in field(details).dataset;
  const choice = details.querySelector(".preset :checked") ?? details.querySelector(".presets");
  if (hasText) begin(field(details));
  else choice.focus({ preventScroll: true });
}

/* The digit on this key. Where the top row makes other characters without Shift (French), what is printed there. */
const digitOf = ({ key, code, shiftKey }) =>
  Number(/^[1-9]$/.exec(key)?.[0] ?? (shiftKey ? 0 : /^Digit([1-9])$/.exec(code)?.[1] ?? 0));

/* The reason of the last rejection, in this tab: a usual one, its own words, or both. */
const LAST = "desk.reason";

function keepReason(form) {
  const { outcome, preset, reason } = Object.fromEntries(new FormData(form));
  if (outcome === "reject" && (preset || reason)) sessionStorage[LAST] = JSON.stringify({ preset, reason });
}

function giveLast() {
  const details = document.getElementById("reject");
  if (!details?.getClientRects().length) return;
  const { preset = "", reason = "" } = JSON.parse(sessionStorage[LAST] ?? "{}");
  const choice = [...details.querySelectorAll(".preset input")].find(({ value }) => value === preset);
  if (!preset && !reason) return say("No message was rejected yet in this tab.");
  if (preset && !choice) return say("The last reason is none of this mailbox.");
  const hasText = "typed" in field(details).dataset;
  open(details);
  if (hasText) return say("The field has words of yours already.");
  if (choice) choice.checked = true;
  field(details).value = reason;
  if ("atOnce" in details.dataset) details.querySelector(".reason .row button").click();
}

function choose(details, digit) {
  const preset = details.querySelectorAll(".preset:not(.none-of-them) input")[digit - 1];
  if (!preset) return false;
  preset.checked = true;
  preset.focus({ preventScroll: true });
  const isWhole = "atOnce" in details.dataset && field(details).value === field(details).defaultValue;
  if (isWhole) details.querySelector(".reason .row button").click();
  return true;
}

onKey("why", open);
onKey("same-reason", giveLast);
document.addEventListener("submit", ({ target }) => target.matches("form[data-verdict]") && keepReason(target), true);
document.addEventListener("click", (event) => {
  const details = event.target.closest?.(".why [data-cancel]")?.closest("details");
  if (!details) return;
  event.preventDefault();
  details.open = false;
  details.querySelector("summary").focus({ preventScroll: true });
});
// Opened by a press, a reason can be chosen or written at once, as after the key.
document.addEventListener("click", ({ target }) => {
  const details = target.closest?.("#decide .why:not(#with-unread) > summary")?.parentElement;
  if (details) requestAnimationFrame(() => details.open && open(details));
});

// Who writes a time has chosen it.
document.addEventListener("input", ({ target }) => {
  if (target.id === "later-at") document.querySelector("#later [value=time]").checked = true;
});

document.addEventListener("keydown", (event) => {
  const details = why(event.target);
  if (!details || event.defaultPrevented || event.target.matches("summary")) return;
  const isWriting = event.target.matches(".input");
  if (event.key === "Enter" && !event.repeat && !event.altKey && !event.shiftKey) {
    // A reason is written on several lines, so Enter alone is a new line there; a time and a zone have one line.
    const sends = event.target.matches("textarea, button, a") ? event.ctrlKey || event.metaKey : true;
    if (!sends) return;
    event.preventDefault();
    details.querySelector(".reason .row button").click();
  } else if (
    isWriting || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("button")
  ) {
    return;
  } else if (digitOf(event)) {
    if (choose(details, digitOf(event))) event.preventDefault();
  } else if (event.isComposing || event.keyCode === 229 || (event.key.length === 1 && event.key !== " ")) {
    // The character itself lands where the focus is by then.
    begin(field(details));
  }
});

/* Choices with a number, reasons above all: after the key that opens them a digit chooses one, and sends it where that
   can be undone. The arrows choose, Enter sends, and any letter starts writing. */
const { all, byId, digitOf, find, onKey, onPress, pane, refuse } = window.desk;
const field = (details) => details.querySelector("textarea, [name=at]");
const hasText = (details) => "typed" in field(details).dataset;
const send = (place) => place.querySelector(".reason .row button, .acts button, :scope > .row button").click();

function begin(text) {
  text.focus();
  // What the desk proposed gives way to what is typed; what somebody typed does not.
  if (text.value === text.defaultValue && !("typed" in text.dataset)) text.select();
}

function open(details) {
  details.open = true;
  const choice = details.querySelector(".preset :checked") ?? details.querySelector(".presets");
  if (hasText(details)) begin(field(details));
  else choice.focus({ preventScroll: true });
}

/* The reason of the last rejection, in this tab: a usual one, its own words, or both. */
const LAST = "desk.reason";

function keepReason(form) {
  const { outcome, preset, reason } = Object.fromEntries(new FormData(form));
  if (outcome === "reject" && (preset || reason)) sessionStorage[LAST] = JSON.stringify({ preset, reason });
}

function giveLast() {
  const details = byId("reject");
  if (!details?.getClientRects().length) return refuse();
  const { preset = "", reason = "" } = JSON.parse(sessionStorage[LAST] ?? "{}");
  const choice = all(".preset input", details).find(({ value }) => value === preset);
  if (!preset && !reason) return refuse("No message was rejected yet in this tab.");
  if (preset && !choice) return refuse("This mailbox does not have the last reason.");
  open(details);
  if (hasText(details)) return refuse("The field already has text.");
  if (choice) choice.checked = true;
  field(details).value = reason;
  if (!("atOnce" in details.dataset)) return;
  const message = pane();
  send(details);
  // A refused press leaves nothing open: the same key, pressed again, is no letter of a reason.
  if (!("deciding" in message.dataset)) details.open = false;
}

function choose(details, digit) {
  const preset = all(".preset:not(.none-of-them) input", details)[digit - 1];
  if (!preset) return refuse("No choice has this number.");
  preset.checked = true;
  preset.focus({ preventScroll: true });
  if ("atOnce" in details.dataset && field(details).value === field(details).defaultValue) send(details);
}

onKey("why", open);
onKey("same-reason", giveLast);
document.addEventListener("submit", ({ target }) => target.matches("form[data-verdict]") && keepReason(target), true);
// Opened by a press, a reason can be chosen or written at once, as after the key.
onPress(
  "#decide .why:not(#with-unread) > summary",
  ({ parentElement: details }) => requestAnimationFrame(() => details.open && open(details)),
);
onPress(".why [data-cancel]", (link, event) => {
  event.preventDefault();
  const details = link.closest("details");
  details.open = false;
  details.querySelector("summary").focus({ preventScroll: true });
});

// Who writes a time has chosen it.
document.addEventListener("input", ({ target }) => {
  if (target.id === "later-at") find("#later [value=time]").checked = true;
});

document.addEventListener("keydown", (event) => {
  const { target, key, ctrlKey, metaKey, altKey, shiftKey, repeat } = event;
  const details = target.closest("#decide .why[open], #later");
  const written = details ?? target.closest("#comment-form, #edit");
  if (!written || event.defaultPrevented || target.matches("summary")) return;
  if (key === "Enter" && !repeat && !altKey && !shiftKey) {
    // Text has several lines, so Enter alone is a new line there; a time and a zone have one line.
    if ((!details || target.matches("textarea, button, a")) && !ctrlKey && !metaKey) return;
    event.preventDefault();
    send(written);
  } else if (!details || target.matches(".input, button") || ctrlKey || metaKey || altKey || repeat) {
    return;
  } else if (digitOf(event)) {
    event.preventDefault();
    choose(details, digitOf(event));
  } else if (event.isComposing || event.keyCode === 229 || (key.length === 1 && key !== " ")) {
    // The character itself lands where the focus is by then.
    begin(field(details));
  }
});

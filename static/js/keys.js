/* Single keys. None acts in a field, with a modifier, while a word is being composed, or on what is not on screen. */
(() => {
  "use strict";
  const PLACES = { q: "/queue/", h: "/history/", a: "/audit/" };
  const STORE = "countersign-keys";
  const dialog = document.getElementById("keys");
  const off = document.getElementById("keys-off");
  const find = (selector) => document.querySelector(selector);
  const isVisible = (element) => Boolean(element) && element.getClientRects().length > 0;
  let isGoing = false;

  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem(STORE, value);
      return localStorage.getItem(STORE);
    } catch {
      return null;
    }
  };
  off.checked = stored() === "off";
  off.addEventListener("change", () => stored(off.checked ? "off" : "on"));

  function inField(element) {
    if (element.matches("input[type=radio], input[type=checkbox]")) return false;
    return element.isContentEditable || element.matches("input, textarea, select");
  }

  function move(by) {
    const items = [...document.querySelectorAll("#list .item")];
    if (!items.length) return;
    const focused = items.indexOf(document.activeElement);
    const from = focused >= 0 ? focused : items.findIndex((item) => item.hasAttribute("aria-current"));
    const next = items[Math.max(0, Math.min(items.length - 1, from + by))];
    // Where the list is another screen, the next message opens at once.
    if (!isVisible(next) || getComputedStyle(find("#list")).position === "absolute") next.click();
    else {
      next.focus();
      next.scrollIntoView({ block: "nearest" });
    }
  }

  function press(key) {
    const button = find(`#decide [data-key=${key}]`);
    if (!isVisible(button) || button.disabled) return;
    if (key === "a" && !button.hasAttribute("data-at-once") && document.activeElement !== button) button.focus();
    else button.click();
  }

  function write(key) {
    const summary = find(`#decide [data-key=${key}]`);
    if (!isVisible(summary)) return;
    summary.parentElement.open = true;
    begin(summary.parentElement);
  }

  /* What the desk proposed gives way to what is typed; what somebody typed does not. */
  function begin(details) {
    const field = details.querySelector("textarea");
    field.focus();
    if (field.value === field.defaultValue && !("typed" in field.dataset)) field.select();
  }

  /* A reason is written on several lines, so Enter alone is a new line there. */
  function sends(event) {
    const wanted = event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat && !event.isComposing;
    return wanted && event.target.matches("#decide textarea");
  }

  function toList() {
    if (getComputedStyle(find("#list")).position === "absolute") location.assign(PLACES.q);
    else (find("#list .item[aria-current]") ?? find("#list .item"))?.focus();
  }

  const ACTS = {
    j: () => move(1),
    k: () => move(-1),
    u: () => find("#list") && toList(),
    a: () => press("a"),
    z: () => press("z"),
    r: () => write("r"),
    b: () => write("b"),
    v: () => isVisible(find("#sheet")) && (find("#sheet .tab[aria-current] + .tab") ?? find("#sheet .tab"))?.click(),
    n: () => isVisible(find("#new")) && find("#new").click(),
    g: () => { isGoing = true; },
    "?": () => dialog.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return leave(event);
    if (sends(event)) return event.target.form.requestSubmit();
    if (event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (inField(event.target) || dialog.open || (off.checked && event.key !== "?")) return;
    if (event.shiftKey && event.key !== "?") return;
    if (isGoing) {
      // However long it took: the key after G goes somewhere or does nothing, and never approves.
      isGoing = false;
      if (PLACES[event.key]) location.assign(PLACES[event.key]);
    } else if (ACTS[event.key]) {
      event.preventDefault();
      ACTS[event.key]();
    }
  });

  // Opened by a press, a reason can be written at once, as after the key.
  document.addEventListener("click", ({ target }) => {
    const details = target.closest("#decide .why > summary")?.parentElement;
    if (details) requestAnimationFrame(() => details.open && begin(details));
  });

  function leave(event) {
    isGoing = false;
    const open = event.target.closest?.("#decide details[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  }
})();

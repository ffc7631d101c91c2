/* The sheet of messages that are decided together: its ticks, what was on screen, and what became of them. */
const { all, byId, onKey, post } = window.desk;
// As long as a message has to be on screen to count as read, and how long several are gathered for one report.
const READ_MS = 1000;
const GATHER_MS = 60;
const AGAIN_MS = 5000;
const sheet = byId("together");
const unreadChoice = byId("with-unread");
const find = (selector) => sheet.querySelector(selector);
const ticks = (root = sheet) => all(".tick", root);
const oneHere = () => document.activeElement?.closest?.(".one");
let isSent = false;

function move(by) {
  const items = all(".one", sheet);
  const next = items[Math.max(0, Math.min(items.length - 1, items.indexOf(oneHere()) + by))];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "start" });
}

const isMarked = (one) => one?.querySelector("[name=read]")?.disabled === false;

/* What approving does, to how many of each kind. */
function effect(ones) {
  const number = { send: 0, schedule: 0, release: 0 };
  for (const { dataset } of ones) number[dataset.kind] += 1;
  const { send, schedule, release } = number;
  if (!send && !schedule && release) return `Release ${release} read to the agent`;
  const parts = [
    send && `send ${send}`,
    schedule && `schedule ${schedule}`,
    release && `release ${release} to the agent`,
  ].filter(Boolean);
  return `Approve ${ones.length} read${schedule || release ? `: ${parts.join(", ")}` : ""}`;
}

function write(selector, text) {
  for (const place of all(selector, sheet)) if (place.textContent !== String(text)) place.textContent = text;
}

function tally() {
  const on = ticks().filter((tick) => tick.checked);
  const here = on.filter((tick) => tick.dataset.kind !== "alone");
  const read = here.filter((tick) => isMarked(tick.closest(".one")));
  const unread = here.length - read.length;
  write("[data-approve]", effect(read));
  write("[data-number]", unread);
  write("[data-approve-all]", `Approve ${read.length ? `${read.length} read and ` : ""}${unread} unread`);
  const approve = find("button:has([data-approve])");
  if (approve) approve.disabled = read.length === 0;
  if (unreadChoice) {
    unreadChoice.hidden = unread === 0;
    unreadChoice.open &&= unread > 0;
  }
  for (const place of all("[data-act]", sheet)) {
    place.textContent = `${place.dataset.act} ${on.length}`;
    const button = place.closest("button");
    if (button) button.disabled = on.length === 0;
  }
  for (const box of all("[data-all]", sheet)) {
    const those = ticks(box.closest("section"));
    const number = those.filter((tick) => tick.checked).length;
    box.checked = number === those.length;
    box.indeterminate = number > 0 && number < those.length;
  }
  write("[data-tally]", on.length > here.length ? `${on.length - here.length} ticked cannot be approved here` : "");
}

function choose() {
  unreadChoice.open = true;
  find("#unread-number").select();
}

/* A message is read when its beginning was on screen, and the end of each of its parts for a while, and the desk has
   recorded that. One that stands there by its differences is read after the one that is shown whole in its place. */
function watch() {
  const parts = new Map();
  const timers = new Map();
  const shown = new Set();
  const inView = new Set();
  const isPaused = () => document.hidden || Boolean(unreadChoice?.open);
  let gathering = 0;
  let isReporting = false;

  function arm(end) {
    if (timers.has(end) || isPaused()) return;
    const done = () => {
      timers.delete(end);
      if (!isPaused()) finish(end);
    };
    timers.set(end, setTimeout(done, end.matches(".end") ? READ_MS : 0));
  }

  function disarm(end) {
    clearTimeout(timers.get(end));
    timers.delete(end);
  }

  function finish(end) {
    const one = end.closest(".one");
    looked.unobserve(end);
    inView.delete(end);
    parts.get(one).delete(end);
    if (parts.get(one).size) return;
    shown.add(one);
    report();
  }

  const isReady = ({ dataset: { like } }) => !like || isMarked(find(`[data-message="${like}"]`));

  function report(delay = GATHER_MS) {
    clearTimeout(gathering);
    gathering = setTimeout(send, delay);
    sheet.dataset.reporting = "";
  }

  async function send() {
    if (isReporting) return report();
    const here = new Set([...shown].map((one) => one.dataset.message));
    const ready = [...shown].filter((one) => isReady(one) || here.has(one.dataset.like));
    ready.forEach((one) => shown.delete(one));
    isReporting = ready.length > 0;
    const status = isReporting ? await tell(ready) : 0;
    isReporting = false;
    delete sheet.dataset.reporting;
    if (status === 204) {
      ready.forEach(mark);
      tally();
      if ([...shown].some(isReady)) report();
    } else if (ready.length) {
      ready.forEach((one) => shown.add(one));
      // On a sheet that is too old they stay unread; a desk that was not reached is told again.
      if (status >= 500) report(AGAIN_MS);
    }
  }

  async function tell(ones) {
    const fields = new URLSearchParams({ sheet: sheet.elements.sheet.value });
    for (const one of ones) fields.append("item", one.querySelector(".tick").value);
    return (await post(sheet.dataset.seen, fields).catch(() => null))?.status ?? 503;
  }

  function mark(one) {
    const field = one.querySelector("[name=read]");
    if (field) field.disabled = false;
    one.querySelector("[data-unread]")?.remove();
  }

  const bar = byId("decide")?.offsetHeight ?? 0;
  const looked = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      inView.delete(target);
      disarm(target);
      if (!isIntersecting) continue;
      inView.add(target);
      arm(target);
    }
  }, { rootMargin: `0px 0px -${bar}px 0px` });
  function restart() {
    for (const end of inView) {
      disarm(end);
      arm(end);
    }
  }
  document.addEventListener("visibilitychange", restart);
  unreadChoice?.addEventListener("toggle", () => {
    restart();
    if (unreadChoice.open) choose();
  });
  for (const one of all(".one", sheet)) {
    if (isMarked(one)) continue;
    const ends = new Set(all(one.dataset.like ? ":scope > .end" : ".end", one));
    if (ends.size) ends.add(one.querySelector("header"));
    parts.set(one, ends);
    ends.forEach((end) => looked.observe(end));
  }
}

if (sheet) {
  onKey("select", () => oneHere()?.querySelector(".tick")?.click());
  onKey("step", move);
  onKey("bulk", () => unreadChoice && !unreadChoice.hidden && choose());
  all("[data-scripted]", sheet).forEach((part) => {
    part.hidden = false;
  });
  sheet.addEventListener("change", ({ target }) => {
    if ("all" in target.dataset) {
      ticks(target.closest("section")).forEach((tick) => {
        tick.checked = target.checked;
      });
    }
    tally();
  });
  sheet.addEventListener("submit", (event) => {
    const { submitter } = event;
    // Enter in a tick: nothing is decided by that.
    if (isSent || !submitter || submitter.hasAttribute("data-nothing")) event.preventDefault();
    if (isSent || submitter?.hasAttribute("data-nothing")) return;
    if (submitter) {
      isSent = true;
      byId("busy").classList.add("on");
      return;
    }
    // Sent from a field by keys: what its own button does, and nothing else.
    const button = find(".why[open] .reason button");
    if (button && !button.disabled) sheet.requestSubmit(button);
  });
  addEventListener("pageshow", () => {
    isSent = false;
    byId("busy").classList.remove("on");
  });
  if (ticks().length) {
    watch();
    tally();
  }
}
// What was refused, or what became of it, is where reading goes on.
if (sheet || byId("bulk-done")) document.querySelector("[data-focus]")?.focus({ preventScroll: true });

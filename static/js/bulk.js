/* The sheet of messages that are decided together: its ticks, what was on screen, and what became of them. */
const { all, onKey, post } = window.desk;
// As long as a message has to be on screen to count as read, and how long several are gathered for one report.
const READ_MS = 1000;
const GATHER_MS = 60;
const AGAIN_MS = 5000;
const sheet = () => document.getElementById("together");
const ticks = (root = sheet()) => all(".tick", root);
const unreadChoice = () => document.getElementById("with-unread");
let isSent = false;

const tickHere = () => document.activeElement?.closest?.(".one")?.querySelector(".tick")?.click();

function move(by) {
  const items = all(".one", sheet());
  const here = items.indexOf(document.activeElement?.closest?.(".one"));
  const next = items[Math.max(0, Math.min(items.length - 1, here + by))];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "start" });
}

const isRead = (tick) => tick.closest(".one").querySelector("[name=read]")?.disabled === false;

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
  for (const place of all(selector, sheet())) if (place.textContent !== String(text)) place.textContent = text;
}

function tally() {
  const on = ticks().filter((tick) => tick.checked);
  const here = on.filter((tick) => tick.dataset.kind !== "alone");
  const read = here.filter(isRead);
  const unread = here.length - read.length;
  write("[data-approve]", effect(read));
  write("[data-number]", unread);
  write("[data-approve-all]", `Approve ${read.length ? `${read.length} read and ` : ""}${unread} unread`);
  const approve = sheet().querySelector("[data-approve]")?.closest("button");
  if (approve) approve.disabled = read.length === 0;
  if (unreadChoice()) {
    unreadChoice().hidden = unread === 0;
    if (!unread) unreadChoice().open = false;
  }
  all("[data-act]", sheet()).forEach((place) => {
    place.textContent = `${place.dataset.act} ${on.length}`;
    const button = place.closest("button");
    if (button) button.disabled = on.length === 0;
  });
  for (const box of all("[data-all]", sheet())) {
    const those = ticks(box.closest("section"));
    const number = those.filter((tick) => tick.checked).length;
    box.checked = number === those.length;
    box.indeterminate = number > 0 && number < those.length;
  }
  write("[data-tally]", on.length > here.length ? `${on.length - here.length} ticked cannot be approved here` : "");
}

/* A message is read when its beginning was on screen, and the end of each of its parts for a while, and the desk has
   recorded that. One that stands there by its differences is read after the one that is shown whole in its place. */
function watch() {
  const parts = new Map();
  const timers = new Map();
  const shown = new Set();
  const inView = new Set();
  const isPaused = () => document.hidden || Boolean(unreadChoice()?.open);
  let gathering = 0;
  let isReporting = false;

  function arm(end) {
    if (timers.has(end) || isPaused()) return;
    const wait = end.matches(".end") ? READ_MS : 0;
    const done = () => {
      timers.delete(end);
      if (!isPaused()) finish(end);
    };
    timers.set(end, setTimeout(done, wait));
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

  const isReady = ({ dataset: { like } }) =>
    !like || sheet().querySelector(`[data-message="${like}"] [name=read]`)?.disabled === false;

  function report(delay = GATHER_MS) {
    clearTimeout(gathering);
    gathering = setTimeout(send, delay);
    sheet().dataset.reporting = "";
  }

  async function send() {
    if (isReporting) return report();
    const here = new Set([...shown].map((one) => one.dataset.message));
    const ready = [...shown].filter((one) => isReady(one) || here.has(one.dataset.like));
    ready.forEach((one) => shown.delete(one));
    isReporting = ready.length > 0;
    const status = isReporting ? await tell(ready) : 0;
    isReporting = false;
    delete sheet().dataset.reporting;
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
    const fields = new URLSearchParams({ sheet: sheet().elements.sheet.value });
    for (const one of ones) fields.append("item", one.querySelector(".tick").value);
    return (await post(sheet().dataset.seen, fields).catch(() => null))?.status ?? 503;
  }

  function mark(one) {
    const field = one.querySelector("[name=read]");
    if (field) field.disabled = false;
    one.querySelector("[data-unread]")?.remove();
  }

  const bar = document.getElementById("decide")?.offsetHeight ?? 0;
  const looked = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        inView.add(target);
        arm(target);
      } else {
        inView.delete(target);
        disarm(target);
      }
    }
  }, { rootMargin: `0px 0px -${bar}px 0px` });
  const restart = () => {
    for (const end of inView) {
      disarm(end);
      arm(end);
    }
  };
  document.addEventListener("visibilitychange", restart);
  unreadChoice()?.addEventListener("toggle", ({ target }) => {
    restart();
    if (target.open) target.querySelector("input").select();
  });
  for (const one of all(".one", sheet())) {
    if (one.querySelector("[name=read]")?.disabled === false) continue;
    const ends = new Set(all(one.dataset.like ? ":scope > .end" : ".end", one));
    if (ends.size) ends.add(one.querySelector("header"));
    parts.set(one, ends);
    ends.forEach((end) => looked.observe(end));
  }
}

if (sheet()) {
  onKey("select", tickHere);
  all("[data-scripted]", sheet()).forEach((part) => {
    part.hidden = false;
  });
  sheet().addEventListener("change", ({ target }) => {
    if (target.dataset.all !== undefined) {
      ticks(target.closest("section")).forEach((tick) => {
        tick.checked = target.checked;
      });
    }
    tally();
  });
  sheet().addEventListener("submit", (event) => {
    // Enter in a tick: nothing is decided by that.
    if (event.submitter?.hasAttribute("data-nothing")) return event.preventDefault();
    // Sent from a field by keys: what its own button does, and nothing else.
    const button = event.submitter ?? sheet().querySelector(".why[open] .reason button");
    if (isSent || !event.submitter) event.preventDefault();
    if (isSent) return;
    if (event.submitter) {
      isSent = true;
      document.getElementById("busy").classList.add("on");
    } else if (button && !button.disabled) sheet().requestSubmit(button);
  });
  window.addEventListener("pageshow", () => {
    isSent = false;
    document.getElementById("busy").classList.remove("on");
  });
  onKey("bulk", () => {
    if (!unreadChoice() || unreadChoice().hidden) return;
    unreadChoice().open = true;
    unreadChoice().querySelector("input").select();
  });
  onKey("step", move);
  if (sheet().querySelector(".tick")) {
    watch();
    tally();
  }
}
// What was refused, or what became of it, is where reading goes on.
if (sheet() || document.getElementById("bulk-done")) {
  document.querySelector("[data-focus]")?.focus({ preventScroll: true });
}

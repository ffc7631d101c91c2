/* The sheet of messages that are decided together: its ticks, what was on screen, and what became of them. */
const { all, byId, onKey, post, refuse } = window.desk;
// As long as a message has to be on screen to count as read, and how long several are gathered for one report.
const READ_MS = 1000;
const GATHER_MS = 60;
const AGAIN_MS = 5000;
const sheet = byId("together");
const unreadChoice = byId("with-unread");
const find = (selector) => sheet.querySelector(selector);
const ticks = (root = sheet) => all(".tick", root);
const isMarked = (one) => one?.querySelector("[name=read]")?.disabled === false;

/* How many are ticked, of each kind; what there is none of is not named, or not offered. */
function tally() {
  const kindOf = (tick) => tick.dataset.kind;
  const ticked = ticks().filter((tick) => tick.checked);
  const here = ticked.filter((tick) => kindOf(tick) !== "alone");
  const read = here.filter((tick) => isMarked(tick.closest(".one")));
  const [schedule, release] = ["schedule", "release"].map((kind) => read.filter((tick) => kindOf(tick) === kind));
  const groups = { ticked, read, schedule, release };
  const numbers = Object.fromEntries(Object.entries(groups).map(([name, those]) => [name, those.length]));
  Object.assign(numbers, { unread: here.length - read.length, alone: ticked.length - here.length });
  for (const place of all("[data-number]", sheet)) {
    const number = String(numbers[place.dataset.number]);
    if (place.textContent !== number) place.textContent = number;
  }
  for (const part of all("[data-any]", sheet)) part.hidden = !numbers[part.dataset.any];
  for (const button of all("[data-needs]", sheet)) button.disabled = !numbers[button.dataset.needs];
  if (unreadChoice?.hidden) unreadChoice.open = false;
  for (const box of all("[data-all]", sheet)) {
    const those = ticks(box.closest("section"));
    const number = those.filter((tick) => tick.checked).length;
    box.checked = number === those.length;
    box.indeterminate = number > 0 && number < those.length;
  }
}

function choose() {
  unreadChoice.open = true;
  find("#unread-number").select();
}

/* A message is read when its beginning was on screen, and the end of each of its parts for a while, and the desk has
   recorded that. One that stands there by its differences is read after the one that is shown whole in its place. */
function watch() {
  const unseen = new Map();
  const seen = new Set();

  function finish(end) {
    const one = end.closest(".one");
    const rest = unseen.get(one);
    looked.unobserve(end);
    rest.delete(end);
    if (rest.size) return;
    unseen.delete(one);
    seen.add(one);
    report();
  }

  /* Several are told at once, and those that come meanwhile next. */
  async function report() {
    if ("reporting" in sheet.dataset) return;
    sheet.dataset.reporting = "";
    for (let pause = GATHER_MS; pause;) {
      await new Promise((done) => setTimeout(done, pause));
      const isHere = (id) => [...seen].some((one) => one.dataset.message === id);
      const isReady = ({ dataset: { like } }) => !like || isHere(like) || isMarked(find(`[data-message="${like}"]`));
      const ready = [...seen].filter(isReady);
      const fields = new URLSearchParams({ sheet: sheet.elements.sheet.value });
      for (const one of ready) fields.append("item", one.querySelector(".tick").value);
      const told = ready.length && await post(sheet.dataset.seen, fields).catch(() => ({ status: 503 }));
      const status = told?.status ?? 0;
      if (status === 204) ready.forEach(mark);
      // On a sheet that is too old they stay unread; a desk that was not reached is told again.
      pause = status === 204 ? GATHER_MS : status >= 500 ? AGAIN_MS : 0;
    }
    delete sheet.dataset.reporting;
  }

  function mark(one) {
    seen.delete(one);
    const field = one.querySelector("[name=read]");
    if (field) field.disabled = false;
    one.querySelector("[data-unread]")?.remove();
    tally();
  }

  const bar = byId("decide")?.offsetHeight ?? 0;
  const looked = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      clearTimeout(target.timer);
      if (isIntersecting) target.timer = setTimeout(() => finish(target), target.matches(".end") ? READ_MS : 0);
    }
  }, { rootMargin: `0px 0px -${bar}px 0px` });

  /* What is on screen while nobody reads begins anew. */
  function look() {
    looked.disconnect();
    for (const end of [...unseen.values()].flatMap((ends) => [...ends])) {
      clearTimeout(end.timer);
      if (!document.hidden && !unreadChoice?.open) looked.observe(end);
    }
  }

  for (const one of all(".one", sheet)) {
    const ends = all(one.dataset.like ? ":scope > .end" : ".end", one);
    if (ends.length && !isMarked(one)) unseen.set(one, new Set([one.querySelector("header"), ...ends]));
  }
  document.addEventListener("visibilitychange", look);
  unreadChoice?.addEventListener("toggle", () => {
    look();
    if (unreadChoice.open) choose();
  });
  look();
}

if (sheet) {
  onKey("bulk", () => (unreadChoice?.hidden === false ? choose() : refuse("No unread message is ticked.")));
  sheet.addEventListener("change", ({ target }) => {
    const those = "all" in target.dataset ? ticks(target.closest("section")) : [];
    for (const tick of those) tick.checked = target.checked;
    tally();
  });
  if (ticks().length) {
    watch();
    tally();
  }
}
// What was refused, or what became of it, is where reading goes on.
if (sheet || byId("bulk-done")) document.querySelector("[data-focus]")?.focus({ preventScroll: true });

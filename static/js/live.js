/* Live hints. One tab of a browser holds the stream and hands its hints to the others; where there is no stream, each
   visible page asks for the pulse. Sends the events desk:hint, desk:beside and desk:pulse, desk:at-ID for each hint
   about a message, and desk:contact while neither has answered for half a minute; paints nothing itself. */
const { all, emit, on, openId, trouble } = window.desk;
const { live, pulse, signIn, me } = document.body.dataset;
const NAME = "countersign-live";
const GRACE = 3000;
// The stream's heart beats every 15 s: what is silent for longer is held up somewhere, however open it seems.
const SILENCE = 25000;
const UNHEARD = 30000;
const channel = new BroadcastChannel(NAME);
let isLeader = false;
let isOpen = false;
let wait = 1000;
let etag = "";
let last = "";
let timer = 0;
let due = 0;
let answered = 0;
let isSignedOut = false;
let heardAt = Date.now();
let isUnheard = false;
let watch = 0;

const tell = (message) => channel.postMessage(message);
const between = (low, high) => low + Math.random() * (high - low);

// What people leave at a message changes nothing of where it stands, and notices only the count in the frame.
const EVENTS = { beside: "desk:beside", notices: "desk:ask-pulse" };
function hand(hint) {
  emit(EVENTS[hint.kind] ?? "desk:hint", hint);
  if (hint.message) emit(`desk:at-${hint.message}`);
}

/* By the clock on the wall: a machine that slept has heard nothing all that time. */
function heard() {
  heardAt = Date.now();
  if (isUnheard) emit("desk:contact", null);
  isUnheard = false;
  listen(UNHEARD);
}

function listen(delay) {
  clearTimeout(watch);
  watch = setTimeout(() => {
    const left = UNHEARD - (Date.now() - heardAt);
    if (left > 0) return listen(left);
    if (!isSignedOut && !isUnheard) emit("desk:contact", new Date(heardAt));
    isUnheard = true;
  }, delay);
}

function setOpen(now) {
  const came = now && !isOpen;
  isOpen = now;
  document.body.dataset.stream = now ? "open" : "polling";
  // What was said while nobody listened is asked for once.
  if (came) plan(between(100, 500));
  else if (!now) plan(between(GRACE, GRACE + 1000));
}

function lead() {
  isLeader = true;
  connect();
  // Held until the tab is closed; then the next tab takes over.
  return new Promise(() => {});
}

function connect() {
  const source = new EventSource(live, { withCredentials: true });
  let silent = setTimeout(giveUp, SILENCE);
  const beats = () => {
    clearTimeout(silent);
    silent = setTimeout(giveUp, SILENCE);
    heard();
  };
  function giveUp() {
    clearTimeout(silent);
    // Our own pause instead of the browser's: a desk without a stream is not asked every second.
    source.close();
    setOpen(false);
    tell({ type: "closed" });
    setTimeout(connect, between(wait, wait * 1.3));
    wait = Math.min(wait * 2, 30000);
  }
  // Open is what was heard of: a proxy that keeps everything back opens too.
  source.addEventListener("beat", () => {
    wait = 1000;
    beats();
    if (!isOpen) setOpen(true);
    tell({ type: "open" });
  });
  source.addEventListener("hint", ({ data }) => {
    const hint = JSON.parse(data);
    beats();
    tell({ type: "hint", hint });
    hand(hint);
  });
  // Too many pages of this person are open: this one asks for a while instead.
  source.addEventListener("limit", () => {
    wait = 30000;
    giveUp();
  });
  source.addEventListener("error", giveUp);
}

function listenToOthers({ data }) {
  if (data.type === "ask") {
    if (isLeader) tell({ type: isOpen ? "open" : "closed" });
  } else if (!isLeader) {
    answered = performance.now();
    if (data.type !== "closed") heard();
    if (data.type === "hint") hand(data.hint);
    else if (isOpen !== (data.type === "open")) setOpen(data.type === "open");
  }
}

/* Is the tab that leads still there? No answer within the grace means: poll. */
function ask() {
  if (isLeader) return;
  const asked = performance.now();
  tell({ type: "ask" });
  setTimeout(() => !isLeader && answered < asked && setOpen(false), GRACE);
}

function plan(delay) {
  clearTimeout(timer);
  if (document.hidden || isSignedOut) return;
  due = performance.now() + delay;
  timer = setTimeout(beat, delay);
}

async function beat() {
  const planned = due;
  try {
    await askPulse();
  } catch {
    // The desk is away for a moment; the next beat finds out.
  }
  if (isSignedOut) return;
  ask();
  // A question that a hint asked for meanwhile stays planned.
  if (due === planned) plan(isOpen ? between(25000, 40000) : between(3000, 8000));
}

/* The message that stands open is asked about too; what was answered about another one is no answer to this. */
async function askPulse() {
  const url = openId() ? `${pulse}?open=${openId()}` : pulse;
  if (url !== last) etag = "";
  last = url;
  const headers = etag ? { "If-None-Match": etag } : {};
  const signal = AbortSignal.timeout(10000);
  const response = await fetch(url, { headers, credentials: "same-origin", cache: "no-store", signal });
  if (response.redirected && new URL(response.url).pathname === signIn) {
    isSignedOut = true;
    etag = "";
    return trouble("signed out");
  }
  if (response.ok || response.status === 304) heard();
  if (!response.ok) return;
  etag = response.headers.get("ETag") ?? "";
  const told = await response.json();
  // Somebody else has signed in: nothing of this page is theirs.
  if (told.me !== me) return location.reload();
  // Who signed in again, in another tab, has another token for forms.
  document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": told.token }));
  for (const field of all("[name=csrfmiddlewaretoken]")) field.value = told.token;
  emit("desk:pulse", told);
}

function begin() {
  channel.addEventListener("message", listenToOthers);
  document.addEventListener("visibilitychange", () => {
    // They may have signed in in another tab meanwhile; else the next question says so again.
    if (!document.hidden) isSignedOut = false;
    plan(between(100, 600));
    // Nobody asked while nobody looked: the first answer tells whether the desk is there.
    if (!document.hidden) listen(GRACE);
  });
  addEventListener("online", () => plan(between(100, 600)));
  listen(UNHEARD);
  on("desk:ask-pulse", () => {
    // Many hints in a row must not put the question off for ever.
    const left = due - performance.now();
    if (left < 0 || left > 700) plan(between(300, 700));
  });
  document.body.dataset.stream = "waiting";
  setTimeout(() => !isOpen && setOpen(false), GRACE);
  // Without locks, as on an address without https, each tab has a stream.
  if (navigator.locks) navigator.locks.request(NAME, lead);
  else lead();
  ask();
}

// Where nobody is signed in, nothing is live.
if (live) begin();

/* Live hints. One tab of a browser holds the stream and hands its hints to the others; where there is no stream, each
   visible page asks for the pulse. Sends the events desk:hint, desk:beside and desk:pulse, desk:at-ID for each hint
   about a message, and desk:contact while neither has answered for half a minute; paints nothing itself. */
const { emit, isSignIn, on, openId, renew, trouble } = window.desk;
const { live, pulse } = document.body.dataset;
const NAME = "countersign-live";
const GRACE = 3000;
// The stream's heart beats every 15 s: what is silent for longer is held up somewhere, however open it seems.
const SILENCE = 25000;
const UNHEARD = 30000;
const channel = new BroadcastChannel(NAME);
// Of the tab that leads.
let source = null;
let silent = 0;
let wait = 1000;
let etag = "";
let timer = 0;
let due = 0;
let isSignedOut = false;
let heardAt = Date.now();
let patientUntil = 0;
let isUnheard = false;

const isOpen = () => document.body.dataset.stream === "open";
const between = (low, high) => low + Math.random() * (high - low);

function setOpen(now) {
  const state = now ? "open" : "polling";
  if (document.body.dataset.stream === state) return;
  document.body.dataset.stream = state;
  // What was said while nobody listened is asked for once.
  plan(now ? between(100, 500) : between(GRACE, GRACE + 1000));
}

/* By the clock on the wall: a machine that slept has heard nothing all that time. */
function checkContact() {
  const isLost = !isSignedOut && Date.now() > Math.max(heardAt + UNHEARD, patientUntil);
  if (isLost === isUnheard) return;
  isUnheard = isLost;
  emit("desk:contact", isLost ? new Date(heardAt) : null);
}

// What people leave at messages changes nothing of where it stands, and notices only the count in the frame.
const EVENTS = { beside: "desk:beside", notices: "desk:ask-pulse" };

/* What the tab that leads heard: that the stream is open, with a hint or without one, or that it is closed. */
function take({ open, hint }) {
  clearTimeout(silent);
  if (open) {
    silent = setTimeout(giveUp, SILENCE);
    heardAt = Date.now();
  }
  setOpen(open);
  if (!hint) return;
  emit(EVENTS[hint.kind] ?? "desk:hint", hint);
  if (hint.message) emit(`desk:at-${hint.message}`);
}

function tell(told) {
  channel.postMessage(told);
  take(told);
}

function connect() {
  source = new EventSource(live, { withCredentials: true });
  silent = setTimeout(giveUp, SILENCE);
  // Open is what was heard of: a proxy that keeps everything back opens too.
  const hear = ({ type, data }) => {
    wait = 1000;
    tell({ open: true, hint: type === "hint" && JSON.parse(data) });
  };
  source.addEventListener("beat", hear);
  source.addEventListener("hint", hear);
  // Too many pages of this person are open, and this stream ends: the page asks for a while instead.
  source.addEventListener("limit", () => wait = 30000);
  source.addEventListener("error", giveUp);
}

function giveUp() {
  // The tab that leads is gone or asleep: this one asks until the other is heard of again.
  if (!source) return setOpen(false);
  // Our own pause instead of the browser's: a desk without a stream is not asked every second.
  source.close();
  tell({ open: false });
  setTimeout(connect, between(wait, wait * 1.3));
  wait = Math.min(wait * 2, 30000);
}

function plan(delay) {
  clearTimeout(timer);
  if (document.hidden || isSignedOut) return;
  due = performance.now() + delay;
  timer = setTimeout(beat, delay);
}

async function beat() {
  const planned = due;
  // Where the desk is away for a moment, the next beat finds out.
  await askPulse().catch(() => {});
  // A question that a hint asked for meanwhile stays planned.
  if (due === planned) plan(isOpen() ? between(25000, 40000) : between(3000, 8000));
}

async function askPulse() {
  // The message that stands open is asked about too.
  const url = openId() ? `${pulse}?open=${openId()}` : pulse;
  const headers = etag ? { "If-None-Match": etag } : {};
  const signal = AbortSignal.timeout(10000);
  const response = await fetch(url, { headers, credentials: "same-origin", cache: "no-store", signal });
  if (isSignIn(response.url)) {
    isSignedOut = true;
    etag = "";
    return trouble(response.url);
  }
  if (response.ok || response.status === 304) heardAt = Date.now();
  if (!response.ok) return;
  etag = response.headers.get("ETag") ?? "";
  const told = await response.json();
  if (renew(told)) emit("desk:pulse", told);
}

// Where nobody is signed in, nothing is live.
if (live) {
  // The tab that leads answers a tab that asks; the others take what it tells.
  channel.addEventListener("message", ({ data }) => {
    if (source && data.asks) channel.postMessage({ open: isOpen() });
    if (!source && !data.asks) take(data);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return clearTimeout(timer);
    // They may have signed in in another tab meanwhile; else the next question says so again.
    isSignedOut = false;
    // Nobody asked while nobody looked: the first answer tells whether the desk is there.
    patientUntil = Date.now() + GRACE;
    plan(between(100, 600));
  });
  addEventListener("online", () => plan(between(100, 600)));
  setInterval(checkContact, 1000);
  on("desk:ask-pulse", () => {
    // Many hints in a row must not put the question off for ever.
    const left = due - performance.now();
    if (left < 0 || left > 700) plan(between(300, 700));
  });
  document.body.dataset.stream = "waiting";
  // Held until the tab is closed; then the next tab takes over. Without locks, as on an address without https, each tab
  // has a stream.
  if (navigator.locks) navigator.locks.request(NAME, () => new Promise(connect));
  else connect();
  channel.postMessage({ asks: true });
  setTimeout(() => document.body.dataset.stream === "waiting" && setOpen(false), GRACE);
}

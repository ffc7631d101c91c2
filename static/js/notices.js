/* What went wrong, said on the page: answers of the server that are not the fragment that was asked for. */
const { get, noticeOf, parse } = window.desk;
const body = document.body;
const toasts = document.getElementById("toasts");
const announce = document.getElementById("announce");
let quiet = 0;

document.addEventListener("desk:say", ({ detail: { text, isSeen } }) => {
  tell(text, isSeen ? 4000 : 1500);
  announce.classList.toggle("sr-only", !isSeen);
});
/* Said once; what stays on the page stands elsewhere. */
function tell(text, milliseconds) {
  announce.textContent = text;
  announce.classList.add("sr-only");
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    announce.textContent = "";
    announce.classList.add("sr-only");
  }, milliseconds);
}
toasts.addEventListener("click", ({ target }) => target.closest("[data-close]")?.parentElement.remove());
document.addEventListener("desk:note", (event) => note(event.detail));
document.addEventListener("desk:trouble", ({ detail: { kind, text } }) => {
  if (kind === "signed out") signedOut();
  else if (kind === "no answer") unreachable();
  else tellPage(text);
});

function note({ tone = "rose", title, text = "", link = null, id = "", passes = false }) {
  if (id) document.getElementById(id)?.remove();
  const box = noticeOf("a-note", { title, text, words: link?.words }, tone);
  box.id = id;
  if (link) Object.assign(box.querySelector("a"), { href: link.href, target: link.here ? "" : "_blank" });
  toasts.append(box);
  if (passes) setTimeout(() => box.remove(), 10000);
}

function signedOut() {
  const next = encodeURIComponent(location.pathname + location.search);
  note({
    id: "signed-out",
    tone: "amber",
    title: "You are signed out.",
    text: "Nothing was decided. What you typed is still here: sign in in a new tab, then continue.",
    link: { href: `${body.dataset.signIn}?next=${next}`, words: "Sign in" },
  });
}

/* A whole page came where a fragment was expected: sign-in, or an error page. It is told, never swapped in. */
function tellPage(text) {
  const page = parse(text);
  const title = page.querySelector("h1")?.textContent ?? "That did not work";
  note({ title, text: page.querySelector("[data-sentence]")?.textContent ?? "Reload the page and try again." });
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (isSignIn(xhr.responseURL)) {
    event.detail.shouldSwap = false;
    signedOut();
  } else if (/^\s*<!doctype/i.test(xhr.responseText)) {
    event.detail.shouldSwap = false;
    tellPage(xhr.responseText);
  }
});
document.addEventListener("htmx:sendError", unreachable);
function unreachable() {
  note({
    id: "unreachable",
    title: "The desk cannot be reached.",
    text: "Check the status of the message before you press again. Nothing is decided twice.",
  });
}
document.addEventListener("htmx:beforeRequest", ({ detail: { xhr } }) => {
  const busy = document.getElementById("busy");
  busy.classList.add("on");
  // Not htmx:afterRequest: the element that asked may be gone by then.
  xhr.addEventListener("loadend", () => busy.classList.remove("on"));
});

/* A long form is sent once the desk answers: a sign-in that has ended, or a network that is away, takes nothing of
   what was typed. */
document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  if (!form.matches("[data-asks]") || submitter?.matches("[formtarget], [data-nothing]")) return;
  if (form.dataset.asks === "answered") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (form.dataset.asks) return;
  form.dataset.asks = "asked";
  const response = await get(body.dataset.pulse).catch(() => null);
  form.dataset.asks = response && !isSignIn(response.url) ? "answered" : "";
  if (form.dataset.asks) form.requestSubmit(submitter);
  else if (response) signedOut();
  else unreachable();
  form.dataset.asks = "";
}, true);

function isSignIn(url) {
  return Boolean(url) && new URL(url, location.href).pathname === body.dataset.signIn;
}

/* What went wrong, said on the page: answers of the server that are not the fragment that was asked for. */
const { byId, get, noticeOf, on, parse } = window.desk;
const { signIn, pulse } = document.body.dataset;
const toasts = byId("toasts");
const announce = byId("announce");
let quiet = 0;

/* Said once; what stays on the page stands elsewhere. */
on("desk:say", ({ text, isSeen = false }) => {
  announce.textContent = text;
  announce.classList.toggle("sr-only", !isSeen);
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    announce.textContent = "";
    announce.classList.add("sr-only");
  }, isSeen ? 4000 : 1500);
});
toasts.addEventListener("click", ({ target }) => target.closest("[data-close]")?.parentElement.remove());
on("desk:note", note);
on("desk:trouble", ({ kind, text }) => {
  if (kind === "signed out") signedOut();
  else if (kind === "no answer") unreachable();
  else tellPage(text);
});

function note({ tone = "rose", title, text = "", link = null, id = "", passes = false }) {
  if (id) byId(id)?.remove();
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
    link: { href: `${signIn}?next=${next}`, words: "Sign in" },
  });
}

function unreachable() {
  const text = "Check the status of the message before you press again. Nothing is decided twice.";
  note({ id: "unreachable", title: "The desk cannot be reached.", text });
}

/* A whole page came where a fragment was expected: sign-in, or an error page. It is told, never swapped in. */
function tellPage(text) {
  const page = parse(text);
  const title = page.querySelector("h1")?.textContent ?? "That did not work";
  note({ title, text: page.querySelector("[data-sentence]")?.textContent ?? "Reload the page and try again." });
}

const isSignIn = (url) => Boolean(url) && new URL(url, location.href).pathname === signIn;

on("htmx:beforeSwap", (detail) => {
  const { responseURL, responseText } = detail.xhr;
  const isPage = /^\s*<!doctype/i.test(responseText);
  if (!isPage && !isSignIn(responseURL)) return;
  detail.shouldSwap = false;
  if (isSignIn(responseURL)) signedOut();
  else tellPage(responseText);
});
/* Whether somebody waits for the answer: these two ask for themselves. */
const isWaitedFor = (elt) => !elt.matches("#claim, #decided");
on("htmx:sendError", ({ elt }) => isWaitedFor(elt) && unreachable());
on("htmx:beforeRequest", ({ elt, xhr }) => {
  if (!isWaitedFor(elt)) return;
  byId("busy").classList.add("on");
  // Not htmx:afterRequest: the element that asked may be gone by then.
  xhr.addEventListener("loadend", () => byId("busy").classList.remove("on"));
});

/* A form in which something was typed is sent once the desk answers: a sign-in that has ended, or a network that is
   away, takes nothing of it. htmx leaves the page as it is anyway. */
const TYPED = "form[method=post]:not([hx-post]):has(textarea, input:not([type=hidden], [type=checkbox], [type=radio]))";
document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  if (!form.matches(TYPED) || submitter?.matches("[formtarget], [data-nothing]")) return;
  if (form.dataset.asks === "answered") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (form.dataset.asks) return;
  form.dataset.asks = "asked";
  const response = await get(pulse).catch(() => null);
  form.dataset.asks = response && !isSignIn(response.url) ? "answered" : "";
  if (form.dataset.asks) form.requestSubmit(submitter);
  else if (response) signedOut();
  else unreachable();
  form.dataset.asks = "";
}, true);

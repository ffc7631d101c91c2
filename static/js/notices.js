/* What went wrong, said on the page: answers of the server that are not the fragment that was asked for. */
const { all, byId, get, isPage, isSignIn, noticeOf, on, parse } = window.desk;
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
on("desk:trouble", tellOf);

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

/* A whole page came where a part was expected: sign-in, or an error page. It is told, never swapped in. */
function tellOf({ url, text }) {
  if (isSignIn(url)) return signedOut();
  if (!text) return unreachable();
  const page = parse(text);
  const title = page.querySelector("h1")?.textContent ?? "That did not work";
  note({ title, text: page.querySelector("[data-sentence]")?.textContent ?? "Reload the page and try again." });
}

on("htmx:beforeSwap", (detail) => {
  const { responseURL: url, responseText: text } = detail.xhr;
  if (!isPage(text)) return;
  detail.shouldSwap = false;
  tellOf({ url, text });
});
/* Whether somebody waits for the answer: these two ask for themselves. */
const isWaitedFor = (elt) => !elt.matches("#claim, #decided");
on("htmx:sendError", ({ elt }) => isWaitedFor(elt) && unreachable());
const showBusy = (isBusy) => byId("busy").classList.toggle("on", isBusy);
on("htmx:beforeRequest", ({ elt, xhr }) => {
  if (!isWaitedFor(elt)) return;
  showBusy(true);
  // Not htmx:afterRequest: the element that asked may be gone by then.
  xhr.addEventListener("loadend", () => showBusy(false));
});

/* A form in which something was typed is sent once the desk answers: a sign-in that has ended, or a network that is
   away, takes nothing of it. htmx leaves the page as it is anyway. Two presses of its button are one. */
const TYPED = "form[method=post]:not([hx-post]):has(textarea, input:not([type=hidden], [type=checkbox], [type=radio]))";
document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  // Enter in a tick: nothing is sent by that.
  if (submitter?.matches("[data-nothing]")) return event.preventDefault();
  if (!form.matches(TYPED) || submitter?.matches("[formtarget]")) return;
  if (form.dataset.asks === "answered") {
    form.dataset.asks = "sent";
    // The answer may be a file, and the page stays.
    setTimeout(rest, 4000);
    return;
  }
  event.preventDefault();
  event.stopImmediatePropagation();
  if (form.dataset.asks) return;
  form.dataset.asks = "asked";
  showBusy(true);
  const response = await get(pulse).catch(() => null);
  if (response && !isSignIn(response.url)) {
    form.dataset.asks = "answered";
    form.requestSubmit(submitter);
  } else tellOf({ url: response?.url });
  if (form.dataset.asks !== "sent") rest();
}, true);

/* A refusal, or the way back, shows the page again. */
function rest() {
  for (const form of all("[data-asks]")) form.dataset.asks = "";
  showBusy(false);
}
addEventListener("pageshow", rest);

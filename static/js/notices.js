/* What went wrong, said on the page: answers of the server that are not the fragment that was asked for. */
(() => {
  "use strict";
  const { parse } = window.desk;
  const body = document.body;
  const toasts = document.getElementById("toasts");
  const announce = document.getElementById("announce");
  let quiet = 0;

  document.addEventListener("desk:say", ({ detail }) => tell(detail, 1500));
  document.addEventListener("desk:refused", ({ detail }) => {
    tell(detail, 4000);
    announce.classList.remove("sr-only");
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
  document.addEventListener("desk:note", (event) => note(event.detail));
  document.addEventListener("desk:signed-out", signedOut);
  document.addEventListener("desk:unreachable", unreachable);
  document.addEventListener("desk:page", ({ detail }) => tellPage(detail));

  function note({ tone = "rose", title, text = "", link = null, id = "" }) {
    if (id) document.getElementById(id)?.remove();
    const box = document.createElement("div");
    box.className = `notice ${tone}`;
    box.id = id;
    const words = document.createElement("div");
    words.append(paragraph(title, "strong"), paragraph(text, "span"));
    if (link) {
      const anchor = document.createElement("a");
      Object.assign(anchor, { href: link.href, textContent: link.words, className: "text-link" });
      if (!link.here) Object.assign(anchor, { target: "_blank", rel: "noopener" });
      words.append(anchor);
    }
    const close = document.createElement("button");
    Object.assign(close, { type: "button", textContent: "✕", className: "push" });
    close.setAttribute("aria-label", "Close this notice");
    close.addEventListener("click", () => box.remove());
    box.append(words, close);
    toasts.append(box);
  }

  function paragraph(text, tag) {
    const line = document.createElement("p");
    const inner = document.createElement(tag);
    inner.textContent = text;
    line.append(inner);
    return line;
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

  function isSignIn(url) {
    return Boolean(url) && new URL(url, location.href).pathname === body.dataset.signIn;
  }
})();

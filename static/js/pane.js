/* The open message: says that it is on screen, follows what becomes of it, and never disturbs what is being typed. */
(() => {
  "use strict";
  // Parts that say where the message is. The letter itself is only painted again when its fingerprint is another.
  const PARTS = ["message-bar", "message-notes", "findings", "origin", "ruling", "decide"];
  const pane = () => document.getElementById("message");
  const token = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
  let news = null;
  let isMine = false;
  let isAsking = false;
  let ticker = 0;
  let following = 0;
  let soon = 0;
  let asked = 0;

  function hasTyped() {
    const fields = [...document.querySelectorAll("#decide textarea")];
    return fields.some((field) => field.value.trim() || field === document.activeElement);
  }

  /* Once for each version that is shown: the note in the ledger that it was on this person's screen. */
  function reportOpened() {
    const { opened, fingerprint } = pane().dataset;
    if (opened && fingerprint) fetch(opened, { method: "POST", headers: { "X-CSRFToken": token() }, credentials: "same-origin" });
  }

  function painted() {
    const { message, word, tone, detail } = pane().dataset;
    if (!message) return;
    emit("desk:painted", { id: message, word, tone, detail });
    showNews();
    clearInterval(ticker);
    const countdown = document.querySelector("#decide [data-seconds]");
    const ends = performance.now() + Number(countdown?.dataset.seconds ?? 0) * 1000;
    if (countdown) ticker = setInterval(() => tick(countdown, ends), 250);
    follow();
  }

  function tick(countdown, ends) {
    const left = Math.ceil((ends - performance.now()) / 1000);
    countdown.textContent = left > 0 ? countdown.textContent.replace(/\d+ s$/, `${left} s`) : "Leaving now";
    if (left > 0) return;
    clearInterval(ticker);
    document.querySelector("#decide [data-key=z]")?.setAttribute("disabled", "");
  }

  /* Something will still happen to this message. The stream tells; without it, or when it missed, the pane asks. */
  function follow() {
    clearTimeout(following);
    if (!pane().hasAttribute("data-moving")) return;
    const seconds = Number(document.querySelector("#decide [data-seconds]")?.dataset.seconds ?? 0);
    const pause = document.body.dataset.stream === "open" ? 6000 : 2000;
    following = setTimeout(() => (document.hidden || hasTyped() ? follow() : refresh()), seconds * 1000 + pause);
  }

  async function refresh() {
    const { message, url } = pane()?.dataset ?? {};
    if (!url) return;
    asked += 1;
    const mine = asked;
    try {
      const response = await fetch(url, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
      if (response.redirected) emit("desk:signed-out");
      else if (response.ok) {
        const text = await response.text();
        // An older answer must not paint over a newer one, nor over another message.
        const isCurrent = mine === asked && pane().dataset.message === message;
        if (isCurrent && !paint(text)) window.htmx.swap("#message", text, { swapStyle: "outerHTML" });
      }
    } catch {
      follow();
    }
  }

  /* While an answer is on its way, that answer paints; what came after it is asked for when it is there. */
  function refreshSoon() {
    clearTimeout(soon);
    soon = setTimeout(() => (isAsking ? refreshSoon() : refresh()), 60);
  }

  /* Paint an answer over the pane; true when only the parts that say where the message is had to be touched. */
  function paint(text) {
    const next = new DOMParser().parseFromString(text, "text/html").getElementById("message");
    const same = next && ["message", "fingerprint"].every((name) => next.dataset[name] === pane().dataset[name]);
    if (!same) {
      // Old and new stand side by side for a moment: of two open ones by one name the browser closes the newer.
      pane().querySelectorAll("details[name]").forEach((one) => one.removeAttribute("name"));
      return false;
    }
    const hadFocus = PARTS.some((id) => document.getElementById(id)?.contains(document.activeElement));
    for (const id of PARTS) {
      const [old, fresh] = [document.getElementById(id), next.querySelector(`#${id}`)];
      if (old && fresh) old.replaceWith(fresh);
      if (fresh) window.htmx.process(fresh);
    }
    for (const name of ["word", "tone", "detail", "state", "moving"]) {
      if (name in next.dataset) pane().dataset[name] = next.dataset[name];
      else delete pane().dataset[name];
    }
    if (hadFocus) focusNotice();
    painted();
    return true;
  }

  function focusNotice() {
    const open = document.querySelector("#decide details[open] textarea");
    (open ?? document.querySelector("#message [data-focus]") ?? pane()).focus({ preventScroll: true });
  }

  /* What somebody else did to the message while it was being read. */
  function showNews() {
    const notes = document.getElementById("message-notes");
    if (!notes || !news) return;
    notes.querySelector("[data-news]")?.remove();
    const box = document.createElement("div");
    box.className = `notice ${news.tone}`;
    box.dataset.news = "";
    const words = document.createElement("p");
    const strong = document.createElement("strong");
    strong.textContent = news.text;
    words.append(strong);
    box.append(words);
    if (news.waits) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "btn push", textContent: "Show it" });
      button.addEventListener("click", () => { news.waits = false; refresh(); });
      box.append(button);
    }
    notes.prepend(box);
  }

  document.addEventListener("desk:hint", ({ detail: hint }) => {
    if (hint.message !== pane()?.dataset.message) return;
    if (["message.opened", "message.served", "message.held"].includes(hint.action)) return;
    const hasChanged = hint.action === "message.changed";
    const waits = hasTyped();
    if (hasChanged || (!isMine && hint.word !== "Held" && hint.word !== pane().dataset.word)) {
      const what = hasChanged ? "The content changed" : hint.detail || hint.word;
      news = { text: `${what} just now`, tone: hint.tone, waits };
      showNews();
      emit("desk:say", news.text);
    }
    if (!waits) refreshSoon();
  });

  // The hint of one's own verdict may be faster than its answer: it is no news.
  document.addEventListener("htmx:beforeRequest", ({ detail: { requestConfig, xhr } }) => {
    isMine = requestConfig.verb === "post" && requestConfig.path.endsWith("/verdict/");
    isAsking = true;
    xhr.addEventListener("loadend", () => { isAsking = false; });
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, requestConfig, shouldSwap } = event.detail;
    if (target.id !== "message" || !shouldSwap) return;
    const wasPosted = requestConfig?.verb === "post";
    isMine &&= xhr.status < 300;
    news = null;
    asked += 1;
    if (!wasPosted || !paint(xhr.responseText)) return;
    event.detail.shouldSwap = false;
    focusNotice();
  });

  document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    if (elt.id !== "message" || !elt.dataset.message) return;
    document.body.classList.add("is-reading");
    if (getComputedStyle(document.body).display === "block") window.scrollTo(0, 0);
    reportOpened();
    painted();
    const notice = elt.querySelector(".notice[data-focus]");
    (notice ?? elt.querySelector("#subject")).focus({ preventScroll: !notice });
  });

  if (pane()?.dataset.message) {
    painted();
    // A plain page load was noted by the server itself; an answer that kept what was typed starts where it went wrong.
    if (document.querySelector("#message-notes [data-focus]")) focusNotice();
  }
})();

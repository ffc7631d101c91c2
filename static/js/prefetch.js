/* Deciding without a wait: the next message is fetched ahead, by a GET that changes nothing, and is on screen while the
   verdict is on its way. Where the verdict is refused or lost, the message that it was about comes back as it was left.
   One press is one decision: what was not on screen for a moment is not decided by the rest of a double press. */
(() => {
  "use strict";
  const { emit, getPage, parse, say } = window.desk;
  const GUARD = 400;
  const IDS = "data-id-ahead";
  const pane = () => document.getElementById("message");
  let ahead = null;
  let asked = 0;
  let guarded = 0;
  let underWay = null;

  /* Two messages are in the page at once, and only one of them may own the names. */
  function putAside(article) {
    for (const one of [article, ...article.querySelectorAll("[id]")]) {
      if (one.id) one.setAttribute(IDS, one.id);
      one.removeAttribute("id");
    }
    article.hidden = article.inert = true;
  }

  function bringBack(article) {
    for (const one of [article, ...article.querySelectorAll(`[${IDS}]`)]) {
      if (one.hasAttribute(IDS)) one.id = one.getAttribute(IDS);
      one.removeAttribute(IDS);
    }
    article.hidden = article.inert = false;
  }

  function forget() {
    ahead?.article.remove();
    ahead = null;
  }

  /* Its frame loads as well, so that the letter itself is there at once. */
  async function fetchAhead() {
    const url = pane()?.dataset.next;
    if (ahead && ahead.url !== url) forget();
    if (!url || ahead) return;
    const mine = ++asked;
    try {
      const article = (await getPage(url, { "X-Purpose": "prefetch" }))?.getElementById("message");
      if (mine !== asked || !article?.dataset.fingerprint || pane()?.dataset.next !== url) return;
      putAside(article);
      article.querySelector("iframe")?.addEventListener("load", () => {
        article.dataset.letter = "here";
      }, { once: true });
      pane().after(article);
      ahead = { url, article, id: article.dataset.message };
    } catch {
      // Without it the answer itself brings the next one.
    }
  }

  const plan = () => setTimeout(fetchAhead, 30);

  function go(url, replaces = false) {
    if (!url || new URL(url, location.href).pathname === location.pathname) return;
    history[replaces ? "replaceState" : "pushState"]({ htmx: true }, "", url);
  }

  async function post(body, action) {
    const headers = { "HX-Request": "true", "X-CSRFToken": body.get("csrfmiddlewaretoken") };
    const answer = { status: 0, text: "", isSignIn: false };
    try {
      const response = await fetch(action, { method: "POST", body, headers, credentials: "same-origin" });
      answer.status = response.status;
      answer.isSignIn = response.redirected && new URL(response.url).pathname === document.body.dataset.signIn;
      answer.text = await response.text();
    } catch {
      answer.status = 0;
    }
    return answer;
  }

  const isSaid = (body) => body.get("outcome") === "approve" || body.get("reason").trim() || body.get("preset");

  async function decide(form) {
    const from = pane();
    if (performance.now() < guarded) return say("One press decides one message. Read this one, then press again.");
    if ("deciding" in from.dataset) return;
    from.dataset.deciding = "";
    const body = new URLSearchParams(new FormData(form));
    const action = form.getAttribute("action");
    // Two verdicts on their way at once could not each bring their message back.
    await underWay;
    if (pane() !== from || from.dataset.fingerprint !== body.get("fingerprint")) {
      delete from.dataset.deciding;
      return;
    }
    guarded = performance.now() + GUARD;
    from.querySelectorAll("form[data-verdict] button").forEach((button) => button.setAttribute("aria-busy", "true"));
    document.getElementById("busy").classList.add("on");
    emit("desk:deciding");
    const sent = post(body, action);
    const shown = ahead && ahead.url === from.dataset.next && isSaid(body)
      ? paintAhead(from, body.get("outcome"))
      : null;
    underWay = sent.then((answer) => settle(answer, from, shown)).finally(() => {
      document.getElementById("busy").classList.remove("on");
      delete from.dataset.deciding;
      from.querySelectorAll("[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
      underWay = null;
      plan();
    });
  }

  function paintAhead(from, outcome) {
    const { article } = ahead;
    ahead = null;
    emit("desk:leave");
    putAside(from);
    bringBack(article);
    window.htmx.process(article);
    document.getElementById("just").replaceChildren(recording(outcome, from));
    go(article.dataset.page);
    emit("desk:shown");
    return article;
  }

  /* What is certain so far: that it was pressed. */
  function recording(outcome, from) {
    const box = document.createElement("div");
    Object.assign(box, { className: "notice", id: "decided", tabIndex: -1 });
    box.setAttribute("role", "alert");
    box.dataset.recording = "";
    const words = document.createElement("p");
    const verb = { approve: "Approved", reject: "Rejected", send_back: "Changes requested" }[outcome];
    const subject = from.querySelector(".subject-line")?.textContent.trim() ?? "";
    words.append(
      "Recording … ",
      Object.assign(document.createElement("span"), { className: "quiet", textContent: `${verb}: ${subject}` }),
    );
    words.className = "whole";
    const undo = Object.assign(document.createElement("button"), {
      type: "button",
      className: "btn",
      textContent: "Undo",
    });
    undo.dataset.key = "z";
    undo.addEventListener("click", () => {
      box.dataset.undo = "";
      undo.disabled = true;
      say("It is undone as soon as it is recorded.");
    });
    box.append(words, undo);
    return box;
  }

  function settle(answer, from, shown) {
    const { status, text, isSignIn } = answer;
    const isPage = /^\s*<!doctype/i.test(text);
    const next = status === 200 && !isSignIn && !isPage ? parse(text).getElementById("message") : null;
    emit("desk:answered", { isDone: Boolean(next) });
    if (next) return goOn(next, text, from, shown);
    // To press again is what is wanted now.
    guarded = 0;
    if (shown) comeBack(from, shown);
    if (isSignIn) emit("desk:signed-out");
    else if (status === 0) emit("desk:unreachable");
    else if (isPage || ![403, 409, 422].includes(status)) emit("desk:page", text);
    else emit("desk:answer", text);
  }

  function goOn(next, text, from, shown) {
    const wantsUndo = document.querySelector("#decided[data-recording]")?.hasAttribute("data-undo");
    guarded = performance.now() + (shown ? 0 : GUARD);
    if (!shown) {
      forget();
      window.htmx.swap("#message", text, { swapStyle: "outerHTML" });
      go(pane().dataset.page);
    } else {
      from.remove();
      graft(next, text, shown);
    }
    const { message, word, tone, detail } = document.getElementById("decided")?.dataset ?? {};
    if (message) emit("desk:status", { id: message, word, tone, detail });
    if (wantsUndo) document.querySelector("#just [data-key=z]")?.click();
  }

  /* What is being read stays, whatever the desk would have shown: only what was decided is told above it. */
  function graft(next, text, shown) {
    const fresh = next.querySelector("#just");
    emit("desk:just", fresh);
    const isIt = pane() === shown && next.dataset.message === shown.dataset.message;
    if (isIt && next.dataset.fingerprint === shown.dataset.fingerprint) emit("desk:repaint", text);
    else if (pane() === shown) emit("desk:recheck");
  }

  function comeBack(from, shown) {
    if (!from.isConnected) return;
    const current = pane();
    emit("desk:leave");
    forget();
    bringBack(from);
    current?.remove();
    if (current !== shown) shown.remove();
    go(from.dataset.page, true);
    emit("desk:returned");
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-verdict]")) return;
    event.preventDefault();
    decide(event.target);
  });
  // What is fetched ahead must not be older than what is known of it.
  document.addEventListener("desk:hint", ({ detail: hint }) => {
    if (!ahead || hint.message !== ahead.id || ["message.opened", "message.served"].includes(hint.action)) return;
    forget();
    emit("desk:recheck");
  });
  document.addEventListener("desk:painted", plan);
  document.addEventListener("htmx:beforeSwap", ({ detail: { target, shouldSwap } }) => {
    if (target.id === "message" && shouldSwap) forget();
  });
  if (pane()?.dataset.next) plan();
})();

/* Notifications of the browser, for whoever switched them on and has no page of the desk in sight. They say what a
   message is called and who wants to send it: nothing else of a message leaves the page. */
(() => {
  "use strict";
  const { emit } = window.desk;
  const STORE = "countersign-tell";
  const NAME = "countersign-in-sight";
  const GRACE = 200;
  const me = document.body.dataset.me;
  if (!me || !("Notification" in window) || !window.isSecureContext) return;
  const channel = "BroadcastChannel" in window ? new BroadcastChannel(NAME) : null;
  let seen = 0;

  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem(STORE, value);
      return localStorage.getItem(STORE);
    } catch {
      return null;
    }
  };
  const isOn = () => stored() === "on" && Notification.permission === "granted";
  const note = (detail) => emit("desk:note", { id: "tell", tone: "blue", ...detail });

  function show() {
    const button = document.getElementById("tell-me");
    if (!button) return;
    button.hidden = false;
    button.setAttribute("aria-pressed", String(isOn()));
  }

  async function turn() {
    const wanted = !isOn();
    // Asked for only by this press.
    if (wanted && Notification.permission === "default") await Notification.requestPermission();
    if (wanted && Notification.permission !== "granted") {
      note({
        tone: "amber",
        title: "Your browser does not let this desk notify you.",
        text: "Allow it in the browser's settings for this page, then switch it on again.",
      });
    } else {
      stored(wanted ? "on" : "off");
      note(
        wanted
          ? {
            title: "Notifications are on.",
            text: "On this device, while no page of the desk is visible. " +
              "They show only the subject and who wants to send.",
          }
          : { title: "Notifications are off.", text: "" },
      );
    }
    show();
  }

  channel?.addEventListener("message", ({ data }) => {
    if (data === "ask" && !document.hidden) channel.postMessage("here");
    else if (data === "here") seen = performance.now();
  });

  /* Whether a page of the desk is in sight, this one or another. */
  function inSight() {
    if (!document.hidden) return Promise.resolve(true);
    const asked = performance.now();
    channel?.postMessage("ask");
    return new Promise((tell) => {
      setTimeout(() => tell(seen >= asked), GRACE);
    });
  }

  async function tell(message, title, body) {
    if (!isOn() || (await inSight())) return;
    try {
      // Of the same message only one stands there, whichever page said it.
      const told = new Notification(title, {
        body,
        tag: `countersign-${message}`,
        icon: document.querySelector("link[rel=icon]").href,
      });
      told.addEventListener("click", () => {
        window.focus();
        location.assign(`/queue/${message}/`);
        told.close();
      });
    } catch {
      // Some phones show none from a page.
    }
  }

  document.addEventListener("desk:hint", ({ detail: hint }) => {
    if (hint.kind !== "new" || hint.action !== "message.held") return;
    tell(
      hint.message,
      hint.subject || "A message is waiting for review",
      hint.starter ? `${hint.starter} wants to send it` : "Waiting for review",
    );
  });
  document.addEventListener("desk:beside", ({ detail: hint }) => {
    if (hint.action === "comment.added" && hint.asked.includes(me)) {
      tell(hint.message, `Question from ${hint.name}`, hint.subject || "About a waiting message");
    }
  });
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("#tell-me")) turn();
  });
  document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    if (elt.id === "list") show();
  });
  show();
})();

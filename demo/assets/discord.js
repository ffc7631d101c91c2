/* Presses buttons, opens and sends forms: the part of Discord's client that talks to an application. */
"use strict";
(() => {
  const composer = document.querySelector("[data-as]");
  if (!composer) return;
  const me = composer.dataset.as;
  const SETTLED_MS = 300; /* until the answer stands on the page */

  async function play(act, body) {
    const answer = await fetch(`/play/${act}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ as: me, ...body }),
    });
    const told = await answer.json();
    document.dispatchEvent(new Event("look"));
    if (answer.status !== 200) throw new Error(told.message);
    /* What only this member sees stands at the end, wherever the pressed card is. */
    if (!told.form) toEnd();
    return told;
  }

  function toEnd() {
    const box = document.querySelector("[data-newest-last]");
    setTimeout(() => {
      box.scrollTop = box.scrollHeight;
    }, SETTLED_MS);
  }

  async function press(button) {
    if (button.hasAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try {
      const told = await play("press", { message: button.dataset.message, custom_id: button.dataset.press });
      if (told.form) open(told.form);
    } catch {
      document.dispatchEvent(new Event("look")); /* the card has changed, and shows what it is now */
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  function open(html) {
    document.getElementById("form-asked")?.remove();
    document.body.append(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
    document.getElementById("form-asked").showModal();
  }

  async function send(form) {
    const values = Object.fromEntries(new FormData(form));
    const button = form.querySelector("[type=submit]");
    const wrong = form.querySelector(".wrong");
    button.disabled = true;
    try {
      const told = form.dataset.command
        ? await play("command", { channel: composer.dataset.channel, name: form.dataset.command, values })
        : await play("submit", { message: form.dataset.message, custom_id: form.dataset.form, values });
      wrong.hidden = !told.failed;
      wrong.textContent = told.failed ? "Something went wrong. Try again." : "";
      if (told.failed) return;
      form.reset();
      form.closest("dialog").close();
    } catch (error) {
      wrong.hidden = false;
      wrong.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.press) press(button);
    else if (button.dataset.open) document.getElementById(button.dataset.open).showModal();
    else if ("close" in button.dataset) button.closest("dialog").close();
  });
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    send(event.target);
  });
})();

/* Plays the part of Discord's client that talks to an application: presses buttons, opens and sends forms. */
"use strict";
(() => {
  const composer = document.querySelector("[data-as]");
  if (!composer) return;
  const me = composer.dataset.as;
  const SETTLED_MS = 300; /* after so long the page shows the reply */

  async function play(act, body) {
    const answer = await fetch(`/play/${act}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ as: me, ...body }),
    });
    const result = await answer.json();
    document.dispatchEvent(new Event("look"));
    if (answer.status !== 200) throw new Error(result.message);
    /* A reply that only this member sees is at the end of the page, so scroll there from the pressed card. */
    if (!result.form) toEnd();
    return result;
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
      const result = await play("press", { message: button.dataset.message, custom_id: button.dataset.press });
      if (result.form) open(result.form);
    } catch {
      document.dispatchEvent(new Event("look")); /* the card has changed: show its new content */
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
      const result = form.dataset.command
        ? await play("command", { channel: composer.dataset.channel, name: form.dataset.command, values })
        : await play("submit", { message: form.dataset.message, custom_id: form.dataset.form, values });
      wrong.hidden = !result.failed;
      wrong.textContent = result.failed ? "Something went wrong. Try again." : "";
      if (result.failed) return;
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

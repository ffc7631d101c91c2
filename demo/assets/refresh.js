/* Fetches the page's list again every second while the page is visible, and shows times in the reader's own zone. */
"use strict";
(() => {
  const live = document.querySelector("[data-live]");
  const EVERY_MS = 1000;
  const NEAR_END = 120; /* in pixels: a list scrolled this close to its end stays at the end */

  function localTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const clock = moment.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
      const today = moment.toDateString() === new Date().toDateString();
      time.title = moment.toLocaleString();
      const day = moment.toLocaleDateString([], { day: "numeric", month: "short" });
      if (time.closest(".age")) time.textContent = today ? clock : day;
      else time.textContent = today ? `Today at ${clock}` : `${day} at ${clock}`;
    }
  }

  function toEnd(box) {
    box.scrollTop = box.scrollHeight;
  }

  async function refresh() {
    const address = new URL(live.dataset.live, location.href);
    address.searchParams.set("version", live.dataset.version);
    const answer = await fetch(address, { cache: "no-store" });
    if (answer.status !== 200) return;
    const html = await answer.text();
    const box = live.closest("[data-newest-last]");
    const atEnd = box && box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
    live.dataset.version = answer.headers.get("X-Version");
    live.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
    const count = document.querySelector("[data-count]");
    if (count && answer.headers.get("X-Count")) count.textContent = answer.headers.get("X-Count");
    localTimes(live);
    if (atEnd) toEnd(box);
  }

  async function tick() {
    try {
      if (!document.hidden) await refresh();
      document.body.classList.remove("away");
    } catch {
      document.body.classList.add("away"); /* the server restarts; the next tick tries again */
    }
    setTimeout(tick, EVERY_MS);
  }

  /* A script that has changed something sends this event, so that the page need not wait for the next tick. */
  document.addEventListener("look", () => refresh().catch(() => {}));
  localTimes(document);
  const box = document.querySelector("[data-newest-last]");
  if (box) toEnd(box);
  if (live) setTimeout(tick, EVERY_MS);
})();

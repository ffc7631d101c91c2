/* The sheet of messages that are decided together: its ticks, what was on screen, and what became of them. */
(() => {
  "use strict";
  const { all, countDown } = window.desk;
  const sheet = () => document.getElementById("together");
  const ticks = (root = sheet()) => all(".tick", root);
  const unseen = new Set();
  let isSent = false;

  const tickHere = () => document.activeElement?.closest?.(".one")?.querySelector(".tick")?.click();

  function move(by) {
    const items = all(".one", sheet());
    const here = items.indexOf(document.activeElement?.closest?.(".one"));
    const next = items[Math.max(0, Math.min(items.length - 1, here + by))];
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: "start" });
  }

  /* What approving does, to how many of each kind. */
  function effect(counts) {
    const { send = 0, schedule = 0, release = 0 } = counts;
    const parts = [
      send && `send ${send}`,
      schedule && `schedule ${schedule}`,
      release && `release ${release} to the agent`,
    ].filter(Boolean);
    if (!send && !schedule) return release ? `Release ${release} to the agent` : "Approve nothing";
    return `Approve and ${parts.join(", ")}`;
  }

  function tally() {
    const on = ticks().filter((tick) => tick.checked);
    const counts = {};
    for (const tick of on) counts[tick.dataset.kind] = (counts[tick.dataset.kind] ?? 0) + 1;
    const approvable = on.length - (counts.alone ?? 0);
    const label = sheet().querySelector("[data-approve]");
    if (label) {
      label.textContent = effect(counts);
      label.closest("button").disabled = approvable === 0;
    }
    all("[data-act]", sheet()).forEach((place) => {
      place.textContent = `${place.dataset.act} ${on.length}`;
      const button = place.closest("button");
      if (button) button.disabled = on.length === 0;
    });
    for (const box of all("[data-all]", sheet())) {
      const those = ticks(box.closest("section"));
      const number = those.filter((tick) => tick.checked).length;
      box.checked = number === those.length;
      box.indeterminate = number > 0 && number < those.length;
    }
    const notes = [];
    if (counts.alone) notes.push(`${counts.alone} ticked cannot be approved here`);
    const waiting = on.filter((tick) => unseen.has(tick.value)).length;
    if (waiting) notes.push(`${waiting} not on your screen yet`);
    const note = sheet().querySelector("[data-tally]");
    const text = notes.join(" · ");
    if (note && note.textContent !== text) note.textContent = text;
    sheet().elements.unseen.value = waiting;
  }

  /* Whether each was on screen: the end of it, or as much as the window holds. */
  function watch() {
    const looked = new IntersectionObserver((entries) => {
      for (const { isIntersecting, intersectionRatio, intersectionRect, target } of entries) {
        if (!isIntersecting || (intersectionRatio < 0.6 && intersectionRect.height < innerHeight / 2)) continue;
        unseen.delete(target.querySelector(".tick").value);
        looked.unobserve(target);
      }
      tally();
    }, { threshold: [0, 0.2, 0.4, 0.6, 0.8, 1] });
    for (const one of all(".one", sheet())) {
      unseen.add(one.querySelector(".tick").value);
      looked.observe(one);
    }
  }

  if (sheet()) {
    document.addEventListener("desk:select", tickHere);
    all("[data-scripted]", sheet()).forEach((part) => {
      part.hidden = false;
    });
    sheet().addEventListener("change", ({ target }) => {
      if (target.dataset.all !== undefined) {
        ticks(target.closest("section")).forEach((tick) => {
          tick.checked = target.checked;
        });
      }
      tally();
    });
    sheet().addEventListener("submit", (event) => {
      // Enter in a tick: nothing is decided by that.
      if (event.submitter?.hasAttribute("data-nothing")) return event.preventDefault();
      // Sent from a field by keys: what its own button does, and nothing else.
      const button = event.submitter ?? sheet().querySelector(".why[open] .reason button");
      if (isSent || !event.submitter) event.preventDefault();
      if (isSent) return;
      if (event.submitter) {
        isSent = true;
        document.getElementById("busy").classList.add("on");
      } else if (button && !button.disabled) sheet().requestSubmit(button);
    });
    window.addEventListener("pageshow", () => {
      isSent = false;
      document.getElementById("busy").classList.remove("on");
    });
    document.addEventListener("desk:step", ({ detail }) => move(detail));
    if (sheet().querySelector(".tick")) {
      watch();
      tally();
    }
  }
  // What was refused, or what became of it, is where reading goes on.
  if (sheet() || document.getElementById("bulk-done")) {
    document.querySelector("[data-focus]")?.focus({ preventScroll: true });
  }

  // How long a batch can still be undone; the button stays, whether it is too late is not for this clock to say.
  function count() {
    const place = document.querySelector("#bulk-done [data-seconds]");
    if (!place) return;
    countDown(place, (left) => {
      place.textContent = left > 0 ? place.textContent.replace(/\d+ s$/, `${left} s`) : "They are being sent now";
    });
  }
  document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    if (elt.id === "bulk-done") count();
  });
  count();
})();

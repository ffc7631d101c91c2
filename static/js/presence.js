/* Who is at which message. Says which one is on this screen, and shows who reads or has the others: by live hints, and
   by the pulse where there is no stream. Who only passes by a message is not announced. */
(() => {
  "use strict";
  const { emit, getPage, post, row, say } = window.desk;
  const BEAT = 20000;
  const PASSING = 700;
  const me = document.body.dataset.me;
  const readers = new Map();
  const holders = new Map();
  const heardAt = new Map();
  let said = "";
  let timer = 0;
  let late = false;
  let asking = 0;
  let isKnown = false;
  let current = "";
  const pane = () => document.getElementById("message");
  const isOpen = (id) => pane()?.dataset.message === id;
  const address = (name) => pane().dataset.opened.replace(/opened\/$/, `${name}/`);

  function send(url, left) {
    // Kept alive: the last request of a page is made while that page is being left.
    post(url, left ? { left: "on" } : {}, { keepalive: true }).catch(() => {});
  }

  // What is decided is read by nobody who could decide it: presence is about what waits.
  const waits = (word) => /^(Held|May still)/.test(word);

  function onScreen() {
    const { opened, word } = pane()?.dataset ?? {};
    const isShown = opened && waits(word) && !document.hidden && !document.prerendering &&
      pane().getClientRects().length;
    return isShown ? address("presence") : "";
  }

  function report() {
    const now = onScreen();
    if (said && said !== now) send(said, true);
    if (now) send(now, false);
    said = now;
    plan(BEAT);
  }

  function plan(delay) {
    clearTimeout(timer);
    if (pane()) timer = setTimeout(report, delay);
  }

  function leave() {
    if (said) send(said, true);
    said = "";
  }

  function words(names) {
    if (names.length > 2) return `${names.length} others are reading`;
    return names.length ? `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} reading` : "";
  }

  function picture(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    svg.setAttribute("class", "i");
    svg.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `${document.querySelector("svg.i use").getAttribute("href").split("#")[0]}#${name}`);
    svg.append(use);
    return svg;
  }

  /* A chip of a row, made where it is not there yet. */
  function chip(place, kind, tone, icon, text) {
    let found = place.querySelector(`[data-${kind}]`);
    if (!found && !text) return;
    if (!found) {
      found = document.createElement("span");
      found.className = `chip ${tone}`;
      found.setAttribute(`data-${kind}`, "");
      found.append(picture(icon), document.createElement("span"));
      place.append(found);
    }
    found.hidden = !text;
    found.querySelector("span").textContent = text;
  }

  function paint(id) {
    const reading = words([...(readers.get(id)?.values() ?? [])]);
    const holder = holders.get(id);
    const marks = row(id)?.querySelector(".marks");
    const assigned = marks?.querySelector("[data-assigned]");
    // Somebody else took it over.
    if (assigned && holder) assigned.remove();
    if (marks) {
      chip(marks, "reading", "blue", "eye", reading);
      chip(
        marks,
        "held-by",
        "violet",
        "person",
        holder ? (holder.person === me ? "Claimed by you" : `Claimed by ${holder.name}`) : "",
      );
    }
    const place = isOpen(id) && document.getElementById("claim");
    if (place) chip(place, "reading", "blue", "eye", reading && `${reading} this`);
  }

  function everywhere() {
    const shown = [...document.querySelectorAll("#list .item")].map((one) => one.dataset.message);
    new Set([...shown, pane()?.dataset.message].filter(Boolean)).forEach(paint);
  }

  /* Parts that somebody is using stay as they are until they are done with them. */
  const isBusy = (part) => Boolean(part.querySelector("details[open], #ask-title"));

  async function refresh() {
    const id = pane()?.dataset.message;
    if (!id) return;
    // The answer to one's own press paints, and finds its place only while what was pressed is still there.
    if (asking) {
      late = true;
      return;
    }
    const page = await getPage(address("beside") + location.search).catch(() => null);
    if (!page || !isOpen(id)) return;
    if (asking) {
      late = true;
      return;
    }
    for (const name of ["claim", "beside-acts", "story"]) {
      const [old, fresh] = [document.getElementById(name), page.getElementById(name)];
      if (!old || !fresh) continue;
      if (isBusy(old)) late = true;
      else replace(old, fresh);
    }
  }

  function replace(old, fresh) {
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    fresh.removeAttribute("hx-swap-oob");
    old.replaceWith(fresh);
    window.htmx.process(fresh);
    emit("desk:beside-painted");
    if (focused) document.getElementById(focused)?.focus();
  }

  function setReader(hint, isHere) {
    if (hint.person === me) return;
    const found = readers.get(hint.message) ?? new Map();
    if (isHere) found.set(hint.person, hint.name);
    else found.delete(hint.person);
    readers.set(hint.message, found);
    heardAt.set(hint.message, performance.now());
    paint(hint.message);
  }

  function setHolder({ message, person, name }, has) {
    const before = holders.get(message);
    if (has) holders.set(message, { person, name });
    else if (!before || before.person === person) holders.delete(message);
    heardAt.set(message, performance.now());
    paint(message);
    if (!isOpen(message)) return;
    if (has && person !== me) say(`${name} claimed this message`);
    if (shownHolder() !== (holders.get(message)?.person ?? "")) refresh();
  }

  function putOff(id, isOff) {
    const item = row(id);
    const mark = item?.querySelector("[data-chip]");
    if (!mark || document.getElementById("list").dataset.tab !== "waiting") return;
    if (isOff) Object.assign(mark, { textContent: "Snoozed", className: "chip shape violet" });
    mark.hidden = !isOff;
    item.classList.toggle("done", isOff);
  }

  function comeBack(id) {
    if (row(id)) putOff(id, false);
    else emit("desk:hint", { kind: "new", action: "snooze.ended", message: id, word: "Held", tone: "amber" });
    emit("desk:ask-pulse");
  }

  document.addEventListener("desk:beside", ({ detail: hint }) => {
    if (hint.action === "presence.here") setReader(hint, true);
    else if (hint.action === "presence.left") setReader(hint, false);
    else if (hint.action === "claim.taken") setHolder(hint, true);
    else if (hint.action === "claim.released") setHolder(hint, false);
    else if (hint.action === "comment.added" && isOpen(hint.message)) refresh();
    if (hint.action === "comment.added" && hint.asked.includes(me)) say(`Question from ${hint.name}`);
    const isMine = hint.person === me && /^(claim|snooze|comment)\./.test(hint.action);
    if (isMine && hint.action === "snooze.set") putOff(hint.message, true);
    if (isMine && hint.action === "snooze.ended") comeBack(hint.message);
    else if (isMine || hint.asked?.includes(me)) emit("desk:ask-pulse");
  });

  document.addEventListener("desk:hint", ({ detail: { message, word } }) => {
    if (!message || !word || waits(word)) return;
    readers.delete(message);
    heardAt.set(message, performance.now());
    paint(message);
  });

  document.addEventListener("desk:put-off", ({ detail }) => {
    putOff(detail.message, true);
    emit("desk:ask-pulse");
  });

  /* An answer does not take back what was heard after it was asked for. */
  function learn(known, { askedAt }, told) {
    const isNewer = (id) => (heardAt.get(id) ?? 0) > askedAt;
    for (const id of [...known.keys()]) if (!isNewer(id)) known.delete(id);
    for (const [id, one] of told) if (!isNewer(id)) known.set(id, one);
  }

  document.addEventListener("desk:pulse", ({ detail: pulse }) => {
    if (!pulse.readers) return;
    learn(readers, pulse, Object.entries(pulse.readers).map(([id, found]) => [id, new Map(found)]));
    learn(holders, pulse, Object.entries(pulse.holders).map(([id, [person, name]]) => [id, { person, name }]));
    isKnown = true;
    everywhere();
    setAsked(pulse.asked);
    catchUp();
  });

  /* What stands in the bar was painted by the desk, perhaps ahead of reading: it is asked again where it is not so. */
  function catchUp() {
    const open = pane()?.dataset.message;
    if (isKnown && open && shownHolder() !== (holders.get(open)?.person ?? "")) refresh();
  }

  const shownHolder = () => document.getElementById("claim")?.dataset.holder ?? "";

  document.addEventListener("desk:painted", () => {
    const open = pane()?.dataset.message ?? "";
    if (open !== current) plan(PASSING);
    // It was decided, or is held again.
    else if (Boolean(said) !== Boolean(onScreen())) plan(0);
    current = open;
    if (open && isKnown) paint(open);
    catchUp();
  });

  function setAsked(number) {
    const link = document.querySelector("[data-asked]");
    if (!link) return;
    link.hidden = !number;
    link.querySelector("[data-asked-count]").textContent = number || "";
  }

  document.addEventListener("toggle", ({ target }) => {
    if (late && target.closest?.("#beside-acts") && !target.open) {
      late = false;
      refresh();
    }
  }, true);
  document.addEventListener("desk:refresh-beside", refresh);
  document.addEventListener("htmx:beforeRequest", ({ detail: { elt, xhr } }) => {
    if (!elt.closest("#beside-acts")) return;
    asking += 1;
    xhr.addEventListener("loadend", () =>
      setTimeout(() => {
        asking -= 1;
        if (late && !asking) {
          late = false;
          refresh();
        }
      }));
  });
  document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    if (elt.id === "list" && isKnown) everywhere();
    if (elt.id === "claim" && pane()) emit("desk:ask-pulse");
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : plan(PASSING)));
  window.addEventListener("pagehide", leave);
  plan(PASSING);
})();

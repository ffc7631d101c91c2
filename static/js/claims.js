/* Shows who claimed which message, what was snoozed, and questions to this person: by live hints, and by the pulse
   where there is no stream. */
(() => {
  "use strict";
  const { HELD, emit, getPage, row, say } = window.desk;
  const me = document.body.dataset.me;
  const holders = new Map();
  const heardAt = new Map();
  let late = false;
  let asking = 0;
  let isKnown = false;
  const pane = () => document.getElementById("message");
  const isOpen = (id) => pane()?.dataset.message === id;
  const address = (name) => pane().dataset.opened.replace(/opened\/$/, `${name}/`);

  function picture(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    svg.setAttribute("class", "i");
    svg.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `${document.querySelector("svg.i use").getAttribute("href").split("#")[0]}#${name}`);
    svg.append(use);
    return svg;
  }

  /* The chip of a row that says who claimed the message, made where it is not there yet. */
  function paint(id) {
    const marks = row(id)?.querySelector(".marks");
    if (!marks) return;
    const holder = holders.get(id);
    // Somebody else took it over.
    if (holder) marks.querySelector("[data-assigned]")?.remove();
    let chip = marks.querySelector("[data-held-by]");
    if (!chip && !holder) return;
    if (!chip) {
      chip = document.createElement("span");
      chip.className = "chip violet";
      chip.setAttribute("data-held-by", "");
      chip.append(picture("person"), document.createElement("span"));
      marks.append(chip);
    }
    chip.hidden = !holder;
    const name = holder?.person === me ? "you" : holder?.name;
    chip.querySelector("span").textContent = holder ? `Claimed by ${name}` : "";
  }

  function everywhere() {
    document.querySelectorAll("#list .item").forEach((one) => paint(one.dataset.message));
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
    mark.dataset.chip = isOff ? "snoozed" : HELD.code;
    mark.hidden = !isOff;
    item.classList.toggle("done", isOff);
  }

  function comeBack(id) {
    if (row(id)) {
      putOff(id, false);
      emit("desk:status", { id, ...HELD });
    } else emit("desk:hint", { kind: "new", action: "snooze.ended", message: id, ...HELD });
    emit("desk:ask-pulse");
  }

  document.addEventListener("desk:beside", ({ detail: hint }) => {
    if (hint.action === "claim.taken") setHolder(hint, true);
    else if (hint.action === "claim.released") setHolder(hint, false);
    else if (hint.action === "comment.added" && isOpen(hint.message)) refresh();
    if (hint.action === "comment.added" && hint.asked.includes(me)) say(`Question from ${hint.name}`);
    const isMine = hint.person === me && /^(claim|snooze|comment)\./.test(hint.action);
    if (isMine && hint.action === "snooze.set") putOff(hint.message, true);
    if (isMine && hint.action === "snooze.ended") comeBack(hint.message);
    else if (isMine || hint.asked?.includes(me)) emit("desk:ask-pulse");
  });

  document.addEventListener("desk:put-off", ({ detail }) => {
    putOff(detail.message, true);
    emit("desk:ask-pulse");
  });

  document.addEventListener("desk:pulse", ({ detail: pulse }) => {
    if (!pulse.holders) return;
    // An answer does not take back what was heard after it was asked for.
    const isNewer = (id) => (heardAt.get(id) ?? 0) > pulse.askedAt;
    for (const id of [...holders.keys()]) if (!isNewer(id)) holders.delete(id);
    for (const [id, [person, name]] of Object.entries(pulse.holders)) {
      if (!isNewer(id)) holders.set(id, { person, name });
    }
    isKnown = true;
    everywhere();
    catchUp();
  });

  /* What stands in the bar was painted by the desk, perhaps ahead of reading: it is asked again where it is not so. */
  function catchUp() {
    const open = pane()?.dataset.message;
    if (isKnown && open && shownHolder() !== (holders.get(open)?.person ?? "")) refresh();
  }

  const shownHolder = () => document.getElementById("claim")?.dataset.holder ?? "";

  document.addEventListener("desk:painted", catchUp);

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
})();

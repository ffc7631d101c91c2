/* What stands on every page beside its content: the kill switch's banner, the count of what is stuck, and passing
   notices. Also paints again the lists that follow the desk (data-refresh), but never under somebody's hands. */
const { all, byId, emit, find, getPage, on, parse, say } = window.desk;

/* The numbers and lines that the desk drew again stand in the place of those with their ids. */
function paint({ html, waiting }) {
  for (const fresh of all("body > [id]", parse(html))) {
    const old = byId(fresh.id);
    if (!old || old.isEqualNode(fresh) || old.contains(document.activeElement)) continue;
    old.replaceWith(fresh);
    if (fresh.id !== "stopped") continue;
    say(fresh.hidden ? "The kill switch is released." : "The kill switch is pulled.");
    emit("desk:stopped");
  }
  const title = document.title.replace(/^\([\d,]+\+?\) /, "");
  document.title = waiting === "0" ? title : `(${waiting}) ${title}`;
}

/* Nothing is taken away that somebody reads, types or is about to press. */
const isInUse = (element) => element.contains(document.activeElement) || element.matches(":hover, :has(details[open])");

async function refresh(element) {
  if (isInUse(element)) return;
  const fresh = (await getPage(element.dataset.refresh))?.body.firstElementChild;
  if (fresh?.id === element.id && !isInUse(element)) element.replaceWith(fresh);
}

/* Neither the stream nor a question was answered for half a minute: what stands here may be over by now. */
on("desk:contact", (since) => {
  const place = byId("unheard");
  place.hidden = !since;
  if (!since) return say("The desk is back.");
  const [minutes, zone] = (document.body.dataset.zone ?? "0 UTC").split(" ");
  const time = new Date(+since + minutes * 60000).toISOString().slice(11, 19);
  place.querySelector("[data-time]").textContent = `${time} ${zone}`;
});
/* What only scripts can do is shown where there are scripts. */
const reveal = () => all("[data-scripted]").forEach((part) => part.hidden = false);
on("htmx:load", reveal);
on("htmx:afterSwap", ({ target, requestConfig }) => {
  if (target?.id === "find" && !target.open) target.showModal();
  const isAsked = requestConfig?.triggeringEvent?.type === "submit" || document.activeElement === document.body;
  if (target?.id === "found" && isAsked) find("#found a")?.focus();
});
on("desk:pulse", (pulse) => {
  paint(pulse);
  all("[data-refresh]").forEach(refresh);
});
setTimeout(() => all("[data-passing]").forEach((notice) => notice.remove()), 8000);

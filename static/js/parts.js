/* The parts beside the letter: tells the desk that links were on screen, leads from a finding to its mark, and copies a
   hash or a secret. The page works without any of it. */
const { all, byId, emit, find, on, onPress, openId, post, say } = window.desk;
const changed = () => document.body.dispatchEvent(new CustomEvent("desk:part"));

const onScreen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    // The desk compares the version: these links may no longer be those of the newest one.
    const { fingerprint } = target.closest("#message")?.dataset ?? {};
    const { part } = target.dataset;
    if (!isIntersecting || document.hidden || !part || !fingerprint) continue;
    post(part, { part: "links", fingerprint }).then(changed, () => {});
    delete target.dataset.part;
  }
}, { threshold: 0.5 });

function look() {
  if (!("unasked" in document.body.dataset)) all("#message [data-part]").forEach((part) => onScreen.observe(part));
}

onPress("[data-copy]", async (button) => {
  const text = button.previousElementSibling;
  getSelection().selectAllChildren(text);
  // Outside of a secure page the selection is there to be copied by hand.
  const copied = await navigator.clipboard?.writeText(text.innerText).then(() => true, () => false);
  button.textContent = copied ? "Copied" : "Selected";
  say(button.textContent);
  setTimeout(() => button.replaceChildren("Copy"), 2000);
});

// What a browser without scripts would load at once, opened or not, the desk would note as opened.
document.addEventListener("toggle", ({ target }) => {
  const frame = target.open && target.querySelector(".part-frame[data-src]");
  if (!frame) return;
  // The desk has noted it by the time that it has loaded.
  frame.addEventListener("load", changed, { once: true });
  frame.src = frame.dataset.src;
  delete frame.dataset.src;
}, true);
// No page is told that a download has begun: the desk, which notes it before the first byte, is asked a little later.
onPress("a[download]", () => [500, 2500, 8000].forEach((wait) => setTimeout(changed, wait)));
// From a finding to its mark in the message's frame, without a new page. Where the frame is not shown at the moment,
// the link's own address opens the message at the mark.
onPress("a[data-mark]", (jump, event) => {
  // Not just any: the next letter is fetched ahead, with a frame of its own.
  const frame = find("#sheet iframe[name=letter]");
  if (!frame || event.defaultPrevented) return;
  event.preventDefault();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("sheet").scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  const place = new URL(frame.src);
  place.hash = jump.dataset.mark;
  // Not by its src: that would leave a step in the history for each look.
  frame.contentWindow.location.replace(place.href);
  frame.focus({ preventScroll: true });
});
on("desk:painted", look);
on("htmx:load", ({ elt }) => {
  if (elt.matches("#thread, .pdf-pages")) changed();
  // Files have come since the page was made: what their bytes gave away stands among the findings too.
  if (elt.matches("#attachments:not([hx-get])")) {
    emit("desk:row", { id: openId() });
    emit("desk:recheck");
  }
  look();
});

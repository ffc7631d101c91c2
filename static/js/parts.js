/* The parts beside the letter: tells the desk that links were on screen, keeps a tick through a new painting, shows a
   thread that has grown, copies a hash or a secret. The page works without any of it. */
const { all, byId, emit, on, openId, post, say } = window.desk;
const changed = () => document.body.dispatchEvent(new CustomEvent("desk:part"));
let ticked = "";

const onScreen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting || document.hidden || !target.dataset.part) continue;
    onScreen.unobserve(target);
    // The desk compares the version: these links may no longer be those of the newest one.
    const { fingerprint } = target.closest("#message")?.dataset ?? {};
    if (!fingerprint) continue;
    post(target.dataset.part, { part: "links", fingerprint }).then(changed, () => {});
    delete target.dataset.part;
  }
}, { threshold: 0.5 });

function prepare() {
  all("#message:not([data-unasked]) [data-part]").forEach((part) => onScreen.observe(part));
  all("[data-copy]:not([data-copies])").forEach(offerCopy);
  const tick = document.querySelector("#decide [name=thread_read][type=checkbox]");
  if (tick && tick.value === ticked) tick.checked = true;
  grow();
}

/* Another letter came while the draft is open: what the decision asks about must stand on the page. */
function grow() {
  const section = byId("thread");
  const { thread, url } = byId("unread")?.dataset ?? {};
  if (!section || !thread || [section.dataset.thread, section.dataset.asked].includes(thread)) return;
  section.dataset.asked = thread;
  window.htmx.ajax("GET", url, { target: "#thread", swap: "outerHTML" });
}

function offerCopy(hash) {
  hash.dataset.copies = "";
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
  button.ariaLabel = `Copy ${hash.dataset.copy}`;
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(hash);
    // Outside of a secure page the selection is there to be copied by hand.
    const copied = await navigator.clipboard?.writeText(hash.innerText).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Selected";
    say(button.textContent);
    setTimeout(() => button.replaceChildren("Copy"), 2000);
  });
  hash.after(" ", button);
}

document.addEventListener("change", ({ target }) => {
  if (target.name === "thread_read") ticked = target.checked ? target.value : "";
});
// What a browser without scripts would load at once, opened or not, the desk would note as opened.
document.addEventListener("toggle", ({ target }) => {
  const frame = target.open && target.querySelector(".part-frame[data-src]");
  if (!frame) return;
  frame.src = frame.dataset.src;
  delete frame.dataset.src;
}, true);
// No page is told that a download has begun: the desk, which notes it before the first byte, is asked a little later.
document.addEventListener("click", ({ target }) => {
  if (target.closest?.("a[download]")) [500, 2500, 8000].forEach((wait) => setTimeout(changed, wait));
});
// A frame of a file that was opened has loaded: the desk has noted it by now.
document.addEventListener("load", ({ target }) => {
  if (target instanceof HTMLIFrameElement && target.matches(".part-frame[src]")) changed();
}, true);
on("desk:painted", prepare);
on("desk:opened", prepare);
on("htmx:load", ({ elt }) => {
  if (elt.matches("#thread, .pdf-pages")) changed();
  // Files have come since the page was made: what their bytes gave away stands among the findings too.
  if (elt.matches("#attachments:not([hx-get])")) {
    emit("desk:row", { id: openId() });
    emit("desk:recheck");
  }
  prepare();
});
prepare();

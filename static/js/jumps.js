/* Takes the reader from a finding to its mark in the message's frame, without a new page. Without it, or where the
   frame is not shown at the moment, the link's own address opens the message at the mark. */
document.addEventListener("click", (event) => {
  const jump = event.target.closest?.("a[data-mark]");
  // Not just any: the next letter is fetched ahead, with a frame of its own.
  const frame = document.querySelector("#sheet iframe[name=letter]");
  if (!jump || !frame || event.defaultPrevented) return;
  event.preventDefault();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.getElementById("sheet").scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  const place = new URL(frame.src);
  place.hash = jump.dataset.mark;
  // Not by its src: that would leave a step in the history for each look.
  frame.contentWindow.location.replace(place.href);
  frame.focus({ preventScroll: true });
});

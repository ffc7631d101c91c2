/* The message's frame: as high as what is in it, and with the reader taken from a finding to its mark. Without it the
   frame is as high as the message's words would be, and the link's own address opens the message at the mark. */
(() => {
  "use strict";
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const frame = target.ownerDocument.defaultView?.frameElement;
      if (!frame || !target.offsetHeight) continue;
      frame.style.height = `${target.offsetHeight + 1}px`;
      const isNew = !frame.closest(".fit");
      frame.parentElement.classList.add("fit");
      // Where its address names a mark, what scrolls to it is the page, not the frame.
      if (isNew) target.ownerDocument.querySelector(":target")?.scrollIntoView({ block: "center" });
    }
  });
  const fit = (frame) => {
    const body = frame.name === "letter" && frame.contentDocument?.body;
    if (body) sizes.observe(body);
  };
  document.addEventListener("load", ({ target }) => fit(target), true);
  document.querySelectorAll("iframe").forEach(fit);

  document.addEventListener("click", (event) => {
    const jump = event.target.closest?.("a[data-mark]");
    // Not just any: the next letter is fetched ahead, with a frame of its own.
    const frame = document.querySelector("#sheet iframe[name=letter]");
    if (
      !jump || !frame || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey ||
      event.altKey
    ) return;
    event.preventDefault();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const place = new URL(frame.src);
    place.hash = jump.dataset.mark;
    // Not by its src: that would leave a step in the history for each look.
    frame.contentWindow.location.replace(place.href);
    frame.focus({ preventScroll: true });
    const mark = frame.contentDocument?.getElementById(jump.dataset.mark) ?? frame;
    mark.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
  });
})();

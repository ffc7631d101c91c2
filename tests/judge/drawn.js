// Draws pages, each in a frame of its own, and finds where their words stand. An expression: its value is a function
// that returns for each page the place of its frame, how far it can be scrolled, and its words in the source's order.
(async ({ pages, width, tallest }) => {
  const WORD = /\S+/g;
  // How far left of an item its number may stand.
  const MARGIN = 45;

  function place(node, start, end) {
    const range = node.ownerDocument.createRange();
    range.setStart(node, start);
    range.setEnd(node, end);
    return [...range.getClientRects()].find((one) => one.width > 0.5 && one.height > 0.5);
  }

  function wordsOf(root) {
    const words = [];
    const begun = new Set();
    const walker = root.createTreeWalker(root.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (element.closest("style, script, title, template")) continue;
      for (const match of node.data.matchAll(WORD)) {
        const box = place(node, match.index, match.index + match[0].length);
        if (!box) continue;
        const item = element.closest("li");
        if (item && !begun.has(item)) {
          begun.add(item);
          words.push({ text: "item", link: "", box: [box.left - MARGIN, box.top, box.left - 1, box.bottom] });
        }
        words.push({
          text: match[0],
          link: element.closest("a[href]")?.href ?? "",
          box: [box.left, box.top, box.right, box.bottom],
        });
      }
    }
    return words;
  }

  document.body.replaceChildren();
  const frames = pages.map(() => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-same-origin";
    frame.style.cssText = `width:${width}px;height:400px;border:0;display:block`;
    document.body.append(frame);
    return frame;
  });
  await Promise.all(frames.map((frame, index) =>
    new Promise((resolve) => {
      // Written, not given as srcdoc: a document in srcdoc is never in quirks mode.
      const root = frame.contentDocument;
      root.open();
      root.write(pages[index]);
      root.close();
      if (root.readyState === "complete") resolve();
      else frame.addEventListener("load", resolve, { once: true });
    })
  ));
  const pictures = frames.flatMap((frame) => [...frame.contentDocument.images]);
  await Promise.all(pictures.map((one) => one.decode().catch(() => null)));
  return frames.map((frame) => {
    const root = frame.contentDocument;
    frame.style.height = `${Math.min(Math.max(root.documentElement.scrollHeight, 20), tallest)}px`;
    return frame;
  }).map((frame) => ({
    top: frame.offsetTop,
    height: frame.offsetHeight,
    reach: frame.contentDocument.documentElement.scrollWidth,
    words: wordsOf(frame.contentDocument),
  }));
});

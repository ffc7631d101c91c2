// Finds what a reader cannot read in drawn HTML. An expression: its value is a function that draws each page in a frame
// of its own and returns, for each, what is wrong, as "hidden: word".
(async ({ pages, width, dark }) => {
  const WORD = /[\p{L}\p{N}\p{Sc}%]+/gu;
  const RTL = /[\u0590-\u08ff\ufb1d-\ufefc]/;

  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((one) => (one / 255 <= 0.04045 ? one / 3294.6 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);

  // The colour behind a word: that of the nearest element around it with a background that reaches to the word.
  function behind(element, rect) {
    let isInBlock = false;
    for (let one = element; one; one = one.parentElement) {
      const isLine = getComputedStyle(one).display === "inline";
      // The background of a line is not drawn behind blocks in it.
      if (isLine && isInBlock) continue;
      isInBlock ||= !isLine;
      const colour = numbers(getComputedStyle(one).backgroundColor);
      const boxes = [...one.getClientRects()];
      const reaches = boxes.some((box) =>
        box.left < rect.left + 1 && box.right > rect.right - 1 && box.top < rect.bottom && box.bottom > rect.top
      );
      if ((colour[3] ?? 1) > 0.5 && (reaches || one.localName === "body")) return colour.slice(0, 3);
    }
    return dark ? [18, 18, 18] : [255, 255, 255];
  }

  function isFaint(element, rect) {
    const style = getComputedStyle(element);
    let opacity = 1;
    for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
    const ink = numbers(style.color);
    const [light, low] = [luminance(ink.slice(0, 3)), luminance(behind(element, rect))].sort((a, b) => b - a);
    return opacity < 0.5 || (ink[3] ?? 1) < 0.5 || (light + 0.05) / (low + 0.05) < 1.5;
  }

  // Whether an element that lies over another one is more than an empty border of it.
  function paints(hit, element) {
    for (let one = hit; one && !one.contains(element); one = one.parentElement) {
      if ((numbers(getComputedStyle(one).backgroundColor)[3] ?? 1) > 0.1 || one.localName === "img") return true;
    }
    return !hit || hit.contains(element);
  }

  // The box around an element beside which others may stand.
  function column(element) {
    for (let one = element; one.parentElement; one = one.parentElement) {
      const display = getComputedStyle(one).display;
      const around = getComputedStyle(one.parentElement).display;
      if (/inline-|table-cell/.test(display) || /flex|grid/.test(around)) return one;
    }
    return null;
  }

  const overlap = (one, other) =>
    Math.max(0, Math.min(one.right, other.right) - Math.max(one.left, other.left)) *
    Math.max(0, Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top));

  function wrong(root) {
    const found = [];
    const seen = [];
    const isRtl = RTL.test(root.body.textContent);
    const walker = root.createTreeWalker(root.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (element.closest("style, script, title, template")) continue;
      for (const match of node.data.matchAll(WORD)) {
        const range = root.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        const rect = [...range.getClientRects()].find((one) => one.width > 0.5 && one.height > 5);
        if (!rect) {
          found.push(`hidden: ${match[0]}`);
          continue;
        }
        if (rect.left < -1 || rect.top < -1 || rect.right > root.documentElement.scrollWidth + 1) {
          found.push(`outside: ${match[0]}`);
        }
        const hit = root.elementFromPoint((rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2);
        if (hit !== element && !element.contains(hit) && paints(hit, element)) found.push(`covered: ${match[0]}`);
        if (parseFloat(getComputedStyle(element).fontSize) < 7 || isFaint(element, rect)) {
          found.push(`unreadable: ${match[0]}`);
        }
        const cell = column(element);
        for (const other of seen.slice(-40)) {
          const smaller = Math.min(rect.width * rect.height, other.rect.width * other.rect.height);
          const isThai = /[\u0e00-\u0eff]/.test(match[0]);
          if (!isThai && overlap(rect, other.rect) > 0.35 * smaller) found.push(`garbled: ${match[0]}`);
        }
        const before = seen.at(-1);
        if (before && before.cell === cell) {
          const isAbove = rect.bottom < before.rect.top + 2 && !element.closest("sup");
          const isOnLine = Math.abs(rect.top - before.rect.top) < Math.min(rect.height, before.rect.height) / 2;
          if (isAbove || (isOnLine && !isRtl && rect.right <= before.rect.left)) found.push(`moved: ${match[0]}`);
        }
        seen.push({ rect, cell });
      }
    }
    return [...new Set(found)];
  }

  document.body.replaceChildren();
  const frames = pages.map((page) => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-same-origin";
    frame.style.cssText = `width:${width}px;height:400px;border:0;display:block`;
    frame.srcdoc = page;
    document.body.append(frame);
    return frame;
  });
  await Promise.all(frames.map((frame) => new Promise((resolve) => (frame.onload = resolve))));
  return frames.map((frame) => {
    const root = frame.contentDocument;
    // A wide table can be scrolled to.
    frame.style.width = `${Math.min(root.documentElement.scrollWidth, 6000)}px`;
    frame.style.height = `${Math.min(root.documentElement.scrollHeight + 20, 60000)}px`;
    return wrong(root);
  });
});

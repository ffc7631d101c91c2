// Draws messages in frames of one page, and finds their words. An expression: the value has the two functions.
(() => {
  const WORD = /[HMN]{6}/g;
  const LASTING = /<meta|<base|<link|<html[^>]|link\s*=|scheme|<style[^>]*title|<frameset/i;
  const GAP = 8;
  const LOW = 80;
  // List markers that are no words of the message's author.
  const USUAL = /^(none|disc|circle|square|decimal|(lower|upper)-(alpha|latin|roman)|disclosure-(open|closed))$/;
  const NEVER_TEXT = "title, style, script";
  const WITHOUT_ADDED = `@layer judge {
    *::before, *::after { content: none !important }
    *::marker { content: normal !important }
    q::before { content: open-quote !important }
    q::after { content: close-quote !important }
  }`;
  // Longer animations are what a recipient sees from their beginning.
  const SOON = 60_000;

  const shadowless = (root) => [...root.querySelectorAll("*")];

  const inner = (root) =>
    shadowless(root).filter((one) => one.matches("iframe, frame")).flatMap((one) =>
      one.contentDocument ? [[one, one.contentDocument]] : []
    );

  const all = (root) => [root, ...inner(root).flatMap(([, one]) => all(one))];

  const next = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

  async function loaded(roots) {
    const until = performance.now() + 3_000;
    const isLoading = (root) => all(root).some((one) => one.readyState !== "complete");
    while (performance.now() < until && roots.some(isLoading)) await next();
    const images = roots.flatMap(all).flatMap((root) => [...root.images]);
    await Promise.race([
      Promise.allSettled(images.map((one) => one.decode())),
      new Promise((resolve) => setTimeout(resolve, 2_000)),
    ]);
  }

  function rest(root) {
    for (const one of root.getAnimations()) {
      const end = one.effect.getComputedTiming().endTime;
      if (end < SOON) one.finish();
      else {
        one.pause();
        one.currentTime = 0;
      }
    }
  }

  function leave_out_added(root) {
    for (const one of shadowless(root)) {
      const style = root.defaultView.getComputedStyle(one);
      if (style.display === "list-item" && !USUAL.test(style.listStyleType)) {
        one.style.setProperty("list-style-type", "none", "important");
      }
      if (one.localName === "q") one.style.setProperty("quotes", "auto", "important");
    }
    const sheet = root.createElement("style");
    sheet.textContent = WITHOUT_ADDED;
    root.documentElement.prepend(sheet);
  }

  function added(root) {
    const found = [];
    const own = /^(none|normal|""|'')$/;
    for (const one of shadowless(root)) {
      const type = root.defaultView.getComputedStyle(one);
      if (type.display === "list-item" && !USUAL.test(type.listStyleType)) found.push(type.listStyleType);
      for (const part of ["::before", "::after", "::marker"]) {
        const content = root.defaultView.getComputedStyle(one, part).content;
        if (!own.test(content) && !(one.localName === "q" && /^(open|close)-quote$/.test(content))) found.push(content);
      }
      if (one.localName === "q" && type.quotes !== "auto") found.push(type.quotes);
    }
    return found;
  }

  const box = (rect, left, top) => [rect.left + left, rect.top + top, rect.right + left, rect.bottom + top];

  function cell(range, left, top) {
    const rects = [...range.getClientRects()].sort((a, b) => b.width * b.height - a.width * a.height);
    return rects.length && rects[0].width * rects[0].height > 0 ? box(rects[0], left, top) : null;
  }

  // The cells of tables that a word lies in, from the outside, each with its table.
  function cells(element, view, tables, left, top) {
    const found = [];
    for (let one = element; one; one = one.parentElement) {
      if (!one.matches("td, th") || view.getComputedStyle(one).display !== "table-cell") continue;
      const table = one.closest("table");
      if (!table) continue;
      if (!tables.has(table)) tables.set(table, tables.size);
      found.unshift([tables.get(table), box(one.getBoundingClientRect(), left, top)]);
    }
    return found;
  }

  function words(root, left, top, tables) {
    const found = [];
    const view = root.defaultView;
    const inside = (from, isDrawn) => {
      const walker = document.createTreeWalker(from, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node.nodeType === Node.ELEMENT_NODE) {
          if (node.localName === "template" && node.content) inside(node.content, false);
          const frame = node.matches("iframe, frame") ? node.contentDocument : null;
          if (frame && frame.documentElement) {
            const at = node.getBoundingClientRect();
            found.push(...words(frame, left + at.left + node.clientLeft, top + at.top + node.clientTop, tables));
          }
          continue;
        }
        for (const match of node.data.matchAll(WORD)) {
          const letters = [];
          for (let at = match.index; isDrawn && at < match.index + match[0].length; at++) {
            const range = root.createRange();
            range.setStart(node, at);
            range.setEnd(node, at + 1);
            letters.push(cell(range, left, top));
          }
          const is_text = !node.parentElement || !node.parentElement.closest(NEVER_TEXT);
          if (!is_text && !letters.some(Boolean)) continue;
          found.push({
            text: match[0],
            letters: letters.every(Boolean) ? letters : letters.filter(Boolean),
            cells: isDrawn && node.parentElement ? cells(node.parentElement, view, tables, left, top) : [],
            framed: root.defaultView.parent !== window,
          });
        }
      }
    };
    inside(root, true);
    return found;
  }

  // Draw as many of the messages as fit on one page of this size, the tallest first.
  async function draw(given) {
    const { jobs, size, colour, fresh } = JSON.parse(given);
    document.documentElement.style.background = colour;
    // A frame is used again and again, as making one takes longest. Its document keeps some of what a message set.
    for (const frame of [...document.body.children]) if (fresh || LASTING.test(frame.dataset.drawn)) frame.remove();
    while (document.body.children.length < jobs.length) {
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-same-origin";
      Object.assign(frame.style, { position: "absolute", border: 0, background: "#fff" });
      document.body.append(frame);
    }
    const pool = [...document.body.children];
    const frames = pool.slice(0, jobs.length);
    pool.forEach((frame, at) => {
      frame.style.display = at < jobs.length ? "block" : "none";
    });
    frames.forEach((frame, at) => {
      Object.assign(frame.style, { left: 0, top: 0, width: `${jobs[at].width}px` });
      frame.style.height = `${jobs[at].height || LOW}px`;
    });
    frames.forEach((frame, at) => {
      const root = frame.contentDocument;
      root.open();
      root.write(jobs[at].html);
      frame.dataset.drawn = jobs[at].html;
      root.close();
    });
    const roots = frames.map((frame) => frame.contentDocument);
    await loaded(roots);
    roots.forEach((root, at) => jobs[at].without && all(root).forEach(leave_out_added));
    const heights = frames.map((frame, at) => {
      const top = roots[at].scrollingElement || roots[at].documentElement;
      const height = jobs[at].height || Math.min(Math.max(top ? top.scrollHeight : 0, LOW), jobs[at].most);
      frame.style.height = `${height}px`;
      return height;
    });
    roots.flatMap(all).forEach(rest);
    const order = jobs.map((_, at) => at).sort((a, b) => heights[b] - heights[a] || a - b);
    const placed = [];
    let left = 0, top = GAP, shelf = 0;
    for (const at of order) {
      if (left + jobs[at].width > size[0]) [left, top, shelf] = [0, top + shelf + GAP, 0];
      if (top + heights[at] > size[1] && placed.length) {
        frames[at].style.display = "none";
        continue;
      }
      frames[at].style.left = `${left}px`;
      frames[at].style.top = `${top}px`;
      placed.push({ at, left, top, height: heights[at] });
      left += jobs[at].width + GAP;
      shelf = Math.max(shelf, heights[at]);
    }
    for (const one of placed) {
      const root = roots[one.at];
      one.wide = (root.scrollingElement || root.documentElement || { scrollWidth: 0 }).scrollWidth;
      one.words = words(root, 0, 0, new Map());
      one.added = jobs[one.at].ask_added ? all(root).flatMap(added) : [];
    }
    await next();
    return JSON.stringify(placed);
  }

  return { draw };
})();

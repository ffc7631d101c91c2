// Where a page draws its words, and which of them can be read. Called by layout_oracle.py; the page runs nothing.
({
  /** Add a style sheet of ours to the page. */
  restyle(text) {
    const style = document.createElement("style");
    style.textContent = text;
    document.documentElement.append(style);
  },

  /** Every word of the page in the order of the source: its text, its rectangles, and whether a line is through it. */
  words() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.parentElement.closest("script,style,title,noscript,template,textarea,select")) continue;
      for (const match of node.data.matchAll(/[^\s\u200b-\u200f\u00ad\ufeff]+/g)) {
        const range = document.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        const rects = [...range.getClientRects()].map((r) => [r.left, r.top, r.right, r.bottom]);
        found.push({
          text: match[0],
          rects,
          cut: this.cutOf(node.parentElement),
          struck: this.isStruck(node.parentElement),
        });
      }
    }
    return found;
  },

  /** Return the rectangle that the boxes around an element leave of it. */
  cutOf(element) {
    const cut = [-Infinity, -Infinity, Infinity, Infinity];
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      const look = getComputedStyle(one), box = one.getBoundingClientRect();
      const cuts = /strict|content|paint/.test(look.contain) || !/^(visible ?)+$/.test(look.overflow);
      if (cuts && look.display !== "inline" && look.display !== "contents") {
        cut.splice(
          0,
          4,
          Math.max(cut[0], box.left),
          Math.max(cut[1], box.top),
          Math.min(cut[2], box.right),
          Math.min(cut[3], box.bottom),
        );
      }
      // What has a place of its own is cut by the boxes around that place only.
      if (/absolute|fixed/.test(look.position)) {
        while (one.parentElement && one.parentElement !== one.offsetParent) one = one.parentElement;
      }
    }
    return cut;
  },

  isStruck(element) {
    for (let one = element; one; one = one.parentElement) {
      const look = getComputedStyle(one);
      const isSeen = !/^rgba\(.*, 0\)$/.test(look.textDecorationColor);
      if (look.textDecorationLine.includes("line-through") && isSeen) return true;
      const isApart = look.float !== "none" || /absolute|fixed/.test(look.position) ||
        look.display.startsWith("inline-");
      if (isApart) return false;
    }
    return false;
  },

  /** Put other letters of the same width in the place of all: what does not change by it cannot be read. */
  swap() {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.parentElement.closest("script,style,template")) continue;
      node.data = node.data.replace(/[A-Za-z0-9]/g, (letter) => (/[mMwWHN]/.test(letter) ? "i" : "M"));
    }
  },

  /** Return for each rectangle what share of its width and height differs between two pictures of the page. */
  async compare({ pictures, rects }) {
    const [first, second] = await Promise.all(pictures.map(async (data) => {
      const picture = new Image();
      picture.src = `data:image/png;base64,${data}`;
      await picture.decode();
      const canvas = new OffscreenCanvas(picture.width, picture.height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(picture, 0, 0);
      return context.getImageData(0, 0, picture.width, picture.height);
    }));
    return rects.map(([left, top, right, bottom]) => {
      const [x0, y0] = [Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top))];
      const [x1, y1] = [Math.min(first.width, Math.ceil(right)), Math.min(first.height, Math.ceil(bottom))];
      const columns = new Set(), rows = new Set();
      for (let y = y0; y < y1; y++) {
        for (let x = x0; x < x1; x++) {
          const at = 4 * (y * first.width + x);
          const differs = [0, 1, 2].some((i) => Math.abs(first.data[at + i] - second.data[at + i]) > 24);
          if (differs) {
            columns.add(x);
            rows.add(y);
          }
        }
      }
      return [columns.size / Math.max(1, right - left), rows.size / Math.max(1, bottom - top)];
    });
  },
});

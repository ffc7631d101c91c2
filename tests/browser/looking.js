/* What tests look at in a page; tests/browser/looking.py calls it. Nothing of it is part of the product. */
(() => {
  "use strict";
  const shape = (one) => `${one.tagName.toLowerCase()}${one.id && "#" + one.id}.${[...one.classList].join(".")}`;

  async function violations(runOnly) {
    const { violations: found } = await axe.run(document, {
      runOnly,
      rules: { "target-size": { enabled: true } },
      resultTypes: ["violations"],
      iframes: false,
    });
    const why = (node) => node.failureSummary.split("\n").slice(1, 3).join(" ");
    return found.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${why(node)}`));
  }

  /* Cut short with an ellipsis, by a box that fits: the whole stands elsewhere. */
  function isClipped(one) {
    for (let box = one.parentElement; box && box !== document.body; box = box.parentElement) {
      const { overflowX, textOverflow } = getComputedStyle(box);
      if (["hidden", "clip"].includes(overflowX) && textOverflow === "ellipsis") return true;
    }
    return false;
  }

  /* Wider than the window, whether the window scrolls for it, hides it, or a box inside scrolls. Rows of tabs and
     source text may scroll by themselves. */
  function tooWide() {
    const width = document.documentElement.clientWidth;
    const found = document.scrollingElement.scrollWidth > width ? ["the page"] : [];
    const mayScroll = ".tabs, .ways, .rail .sections, pre, svg, .sr-only, .skip";
    for (const one of document.body.querySelectorAll("*")) {
      const { left, right, width: wide, height } = one.getBoundingClientRect();
      const { overflowX } = getComputedStyle(one);
      if (!wide || !height || !one.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true })) continue;
      if (one.closest(mayScroll) || isClipped(one)) continue;
      const scrolls = ["auto", "scroll"].includes(overflowX) && one.scrollWidth > one.clientWidth + 1;
      if (right > width + 1 || left < -1) found.push(`${shape(one)} from ${Math.round(left)} to ${Math.round(right)}`);
      else if (scrolls) found.push(`${shape(one)} scrolls sideways`);
    }
    return found.slice(0, 8);
  }

  /* Some boxes show the ring in place of what is in them: a field's frame, a row around its link. */
  function isLit(one) {
    const boxes = [...document.querySelectorAll(":focus-within")].slice(-3);
    const hasRing = (box) => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(box);
      return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || (box === one && boxShadow !== "none");
    };
    return boxes.some(hasRing) || [...one.parentElement.children].some(hasRing);
  }

  /* After Tab was pressed: what is wrong with the focused element; null if it is the first one again. */
  let first = null;
  async function lostFocus() {
    // The page scrolls to the focused element before the next frame.
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const one = document.activeElement;
    if (one === first) return null;
    first ??= one;
    if (!one || one === document.body || one.tagName === "IFRAME") return "";
    const name = `${shape(one)} “${(one.textContent || one.value || "").trim().slice(0, 30)}”`;
    if (!isLit(one)) return `${name} shows no focus`;
    const box = one.getBoundingClientRect();
    const [left, top] = [Math.max(box.left, 0), Math.max(box.top, 0)];
    const [wide, high] = [Math.min(box.right, innerWidth) - left, Math.min(box.bottom, innerHeight) - top];
    if (wide < 1 || high < 1) return `${name} is out of sight at ${Math.round(box.top)}`;
    const spots = [[.5, .5], [.1, .5], [.9, .5], [.5, .15], [.5, .85]];
    const isSeen = spots.some(([x, y]) => {
      const hit = document.elementFromPoint(left + wide * x, top + high * y);
      return hit && (one.contains(hit) || hit.contains(one) || hit.closest("label")?.control === one);
    });
    return isSeen ? "" : `${name} is covered`;
  }

  function moving() {
    return [...document.querySelectorAll("*")].filter((one) =>
      ["", "::before", "::after"].some((part) => {
        const { animationName, transitionDuration } = getComputedStyle(one, part || null);
        return animationName !== "none" || transitionDuration.split(",").some((time) => parseFloat(time) > 0);
      })
    ).map(shape).slice(0, 8);
  }

  /* What a reader of the screen goes by: one heading of the page, its main part and its ways, a first link that leads
     past them, to the decision where there is one, times that say when, frames that say what they are. */
  function bones() {
    const all = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility());
    const [headings, mains] = [all("h1:not([role=presentation])").length, document.querySelectorAll("main").length];
    const [skip, rail] = [all(".skip")[0], all(".rail").length];
    const target = skip && document.querySelector(skip.getAttribute("href"));
    const wanted = document.querySelector("#decide:not(:empty)") ?? target;
    const times = all("time").filter((one) =>
      !Date.parse(one.dateTime) || !/\d\d:\d\d/.test(one.title + one.textContent)
    );
    return [
      headings === 1 || `${headings} headings of the first level`,
      mains === 1 || `${mains} main parts`,
      !rail || (target && target === wanted) || `the first link leads to ${skip?.getAttribute("href")}`,
      ...times.map((one) => `no time: ${one.outerHTML}`),
      ...all("iframe:not([title])").map((one) => `no title: ${one.outerHTML}`),
    ].filter((one) => one !== true).slice(0, 8);
  }

  /* Open every fold, also of those of which one is open at a time. */
  function unfold() {
    for (const one of document.querySelectorAll("details:not([open])")) {
      one.removeAttribute("name");
      one.open = true;
    }
  }

  window.looking = { violations, tooWide, lostFocus, moving, bones, unfold };
})();

/* What several scripts of the desk need: its events, requests to it, and the pages that it answers with. */
window.desk = (() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
  const say = (text) => emit("desk:say", text);
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");

  /* Ask for a part of a page, as htmx does. */
  function get(url, headers = {}) {
    return fetch(url, { headers: { "HX-Request": "true", ...headers }, credentials: "same-origin" });
  }

  /* Return that part as a document; null when the desk refused, or asked to sign in. */
  async function getPage(url, headers = {}) {
    const response = await get(url, headers);
    return response.ok && !response.redirected ? parse(await response.text()) : null;
  }

  function post(url, fields, { headers = {}, ...options } = {}) {
    const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
    const body = new URLSearchParams(fields);
    return fetch(url, {
      method: "POST",
      body,
      headers: { "X-CSRFToken": token, ...headers },
      credentials: "same-origin",
      ...options,
    });
  }

  return Object.freeze({ all, emit, say, parse, get, getPage, post });
})();

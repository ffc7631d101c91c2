/* The notice over the message: what was decided, how long it can be undone, and what became of it. */
const { emit, endOf, getPage } = window.desk;
const TRIES = 12;
const notice = () => document.getElementById("decided");
let timer = 0;
let tries = 0;
let hints = 0;

function start() {
  clearTimeout(timer);
  const place = notice()?.querySelector("[data-seconds]");
  const left = place ? Math.max(0, endOf(place) - performance.now()) : 0;
  if (notice()?.hasAttribute("data-moving")) timer = setTimeout(look, left + 1500);
}

/* Whether it is too late is not for this clock to say: the desk is asked. */
async function look() {
  const { url, message } = notice()?.dataset ?? {};
  if (!url || tries++ > TRIES) return;
  const known = hints;
  try {
    const page = await getPage(url);
    if (!page) return;
    const fresh = page.getElementById("just");
    if (notice()?.dataset.message === message) put(fresh);
    // What was told while the answer was on its way may not be in it.
    if (hints !== known) timer = setTimeout(look, 250);
  } catch {
    timer = setTimeout(look, 3000);
  }
}

function put(fresh) {
  const place = document.getElementById("just");
  if (!fresh || !place) return;
  const hadFocus = place.contains(document.activeElement);
  const isSame = place.textContent.replace(/\d+/g, "") === fresh.textContent.replace(/\d+/g, "");
  if (!isSame) {
    place.replaceChildren(...fresh.childNodes);
    window.htmx.process(place);
  }
  if (hadFocus && !isSame) (notice() ?? document.getElementById("subject"))?.focus({ preventScroll: true });
  start();
  const { message } = notice()?.dataset ?? {};
  if (message) emit("desk:row", { id: message });
}

document.addEventListener("desk:just", ({ detail }) => {
  tries = 0;
  put(detail);
});
document.addEventListener("desk:painted", () => {
  tries = 0;
  start();
});
document.addEventListener("htmx:load", ({ detail: { elt } }) => {
  if (elt.id === "message") start();
});
document.addEventListener("desk:hint", ({ detail: hint }) => {
  if (hint.message !== notice()?.dataset.message) return;
  [hints, tries] = [hints + 1, 0];
  clearTimeout(timer);
  timer = setTimeout(look, 250);
});
start();
notice()?.focus({ preventScroll: true });

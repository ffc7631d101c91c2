/* Switches notifications of this browser on, when somebody presses the button for that, and says whether they are on
   here: a browser whose data was cleared has no subscription any more, and that of another person is ended. */
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.id !== "push-on") return;
  event.preventDefault();
  try {
    await navigator.serviceWorker.register("/service-worker.js");
    // A worker that is only being installed takes no subscription.
    const worker = await navigator.serviceWorker.ready;
    const options = { userVisibleOnly: true, applicationServerKey: form.dataset.key };
    const { endpoint, keys } = (await worker.pushManager.subscribe(options)).toJSON();
    for (const [name, value] of Object.entries({ endpoint, ...keys })) form.elements[name].value = value;
    form.submit();
  } catch {
    form.querySelector("[role=alert]").textContent =
      "Your browser does not let this desk notify you. Allow it in the browser's settings for this page.";
  }
});

document.addEventListener("htmx:load", async ({ target }) => {
  const place = target.querySelector("[data-push-here]");
  if (!place) return;
  const worker = await navigator.serviceWorker?.getRegistration("/");
  const subscription = await worker?.pushManager?.getSubscription();
  let isOn = false;
  if (subscription) {
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(subscription.endpoint));
    const hex = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
    isOn = target.querySelector(`[data-endpoint="${hex}"]`) !== null;
    // Whoever used this browser before gets their notices here no more.
    if (!isOn) await subscription.unsubscribe();
  }
  place.textContent = isOn ? "Notifications are on in this browser." : "Notifications are off in this browser.";
});

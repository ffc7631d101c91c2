/* Switches notifications of this browser on, when somebody presses the button for that. */
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

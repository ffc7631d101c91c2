// Passkeys: asks the browser to make or use one, and posts what it answers with the form around the button.
const SAID = {
  NotAllowedError: "No passkey was used. Press the button to try again.",
  InvalidStateError: "This device already has a passkey for you.",
  SecurityError: "Passkeys need an address with a host name and https.",
  NotSupportedError: "This device cannot store this kind of passkey.",
};

const options = async (form) => {
  if (form.dataset.options) return JSON.parse(form.dataset.options).publicKey;
  const answer = await fetch(form.action, { headers: { "X-Requested-With": "XMLHttpRequest" } });
  if (!answer.ok) throw new Error(answer.status === 429 ? "Too many attempts. Wait a minute." : "");
  return (await answer.json()).request_options.publicKey;
};

const say = (form, text) => {
  const place = form.querySelector("[data-problem]");
  place.textContent = text;
  place.hidden = !text;
};

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = false;
  if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) {
    if (form.dataset.passkey === "sign-in") form.hidden = true;
    else say(form, "This browser cannot use passkeys.");
    continue;
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    say(form, "");
    try {
      const asked = await options(form);
      const credential = await (form.dataset.passkey === "add"
        ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked) })
        : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked) }));
      form.elements.credential.value = JSON.stringify(credential);
      form.submit();
    } catch (error) {
      say(form, SAID[error.name] || error.message || "That did not work. Reload the page and try again.");
      button.disabled = false;
    }
  });
}

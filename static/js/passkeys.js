// Passkeys: asks the browser to make or use one, and posts what it answers with the form around the button.
(() => {
  "use strict";

  const SAID = {
    NotAllowedError: "No passkey was used. Press the button to try again.",
    InvalidStateError: "This device already has a passkey for you.",
    SecurityError: "Passkeys need an address with a host name and https.",
    NotSupportedError: "This device cannot store this kind of passkey.",
  };

  const toBytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));

  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=/g, "");

  const named = (list) => (list || []).map((one) => ({ ...one, id: toBytes(one.id) }));

  const make = (asked) =>
    navigator.credentials.create({
      publicKey: {
        ...asked,
        challenge: toBytes(asked.challenge),
        user: { ...asked.user, id: toBytes(asked.user.id) },
        excludeCredentials: named(asked.excludeCredentials),
      },
    });

  const use = (asked) =>
    navigator.credentials.get({
      publicKey: { ...asked, challenge: toBytes(asked.challenge), allowCredentials: named(asked.allowCredentials) },
    });

  const written = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = toText(credential.response[name]);
    }
    return JSON.stringify({
      id: credential.id,
      rawId: toText(credential.rawId),
      type: credential.type,
      response,
      clientExtensionResults: credential.getClientExtensionResults(),
    });
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
    if (!window.PublicKeyCredential) {
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
        const credential = await (form.dataset.passkey === "add" ? make(asked) : use(asked));
        form.elements.credential.value = written(credential);
        form.submit();
      } catch (error) {
        say(form, SAID[error.name] || error.message || "That did not work. Reload the page and try again.");
        button.disabled = false;
      }
    });
  }
})();

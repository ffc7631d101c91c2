"""A device with one passkey, in software, for tests of sign-in. It answers the options
of a page as a browser would, at any origin.
"""

import hashlib
import os

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)

VERIFIED = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV


class Device:
    """A device with one key pair, which stands for its passkey."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(16)
        self.user = ""

    def make(self, options, *, origin):
        """Return the browser's answer to the options for a new passkey."""
        wanted = options["publicKey"]
        self.user = wanted["user"]["id"]
        public = ES256.from_cryptography_key(self.key.public_key())
        credential = AttestedCredentialData.create(b"\0" * 16, self.id, public)
        data = AuthenticatorData.create(
            _host_hash(wanted["rp"]["id"]),
            VERIFIED | AuthenticatorData.FLAG.AT,
            0,
            credential,
        )
        client_data = CollectedClientData.create(
            "webauthn.create", wanted["challenge"], origin
        )
        attested = AttestationObject.create("none", data, {})
        return self._answer(clientDataJSON=client_data, attestationObject=attested)

    def use(self, options, *, origin, kind="webauthn.get"):
        """Return the browser's answer to the options for a sign-in or
        reauthentication.
        """
        wanted = options["publicKey"]
        data = AuthenticatorData.create(_host_hash(wanted["rpId"]), VERIFIED, 1)
        client_data = CollectedClientData.create(kind, wanted["challenge"], origin)
        signature = self.key.sign(data + client_data.hash, ec.ECDSA(SHA256()))
        parts = {
            "clientDataJSON": client_data,
            "authenticatorData": data,
            "signature": signature,
        }
        return self._answer(**parts, userHandle=self.user)

    def _answer(self, **parts):
        response = {
            name: part if isinstance(part, str) else websafe_encode(part)
            for name, part in parts.items()
        }
        credential_id = websafe_encode(self.id)
        return {
            "id": credential_id,
            "rawId": credential_id,
            "type": "public-key",
            "clientExtensionResults": {},
            "response": response,
        }


def _host_hash(host):
    return hashlib.sha256(host.encode()).digest()

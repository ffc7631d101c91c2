"""A device with one passkey, in software: it answers what a page asks, as a browser at
any origin would pass it on.
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
    """Its passkey is for the host of the options that made it."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(16)
        self.user = ""

    def make(self, options, *, origin):
        """Answer the options for a new passkey."""
        asked = options["publicKey"]
        self.user = asked["user"]["id"]
        public = ES256.from_cryptography_key(self.key.public_key())
        credential = AttestedCredentialData.create(b"\0" * 16, self.id, public)
        data = AuthenticatorData.create(
            _host_hash(asked["rp"]["id"]),
            VERIFIED | AuthenticatorData.FLAG.AT,
            0,
            credential,
        )
        client_data = CollectedClientData.create(
            "webauthn.create", asked["challenge"], origin
        )
        attested = AttestationObject.create("none", data, {})
        return self._answer(clientDataJSON=client_data, attestationObject=attested)

    def use(self, options, *, origin, kind="webauthn.get"):
        """Answer the options for signing in or confirming."""
        asked = options["publicKey"]
        data = AuthenticatorData.create(_host_hash(asked["rpId"]), VERIFIED, 1)
        client_data = CollectedClientData.create(kind, asked["challenge"], origin)
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
        mine = websafe_encode(self.id)
        return {
            "id": mine,
            "rawId": mine,
            "type": "public-key",
            "clientExtensionResults": {},
            "response": response,
        }


def _host_hash(host):
    return hashlib.sha256(host.encode()).digest()

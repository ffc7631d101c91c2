"""A stand-in for an OpenID Connect provider, over real HTTP. A test sets its answers,
the claims in its tokens and how they are signed.
"""

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.serving import standing_in

CLIENT_ID = "desk"
BEGIN = "/accounts/login/provider/"
BACK = f"{BEGIN}back/"
KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def published(key, algorithm, kid="k1", **more):
    """Return the public half of a key, as a JSON Web Key."""
    row = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**row, "kid": kid, "alg": algorithm, "use": "sig", **more}


def sign(claims, key=KEY, algorithm="ES256", kid="k1"):
    """Return a signed token with these claims."""
    return jwt.encode(
        claims, key, algorithm=algorithm, headers={"kid": kid} if kid else None
    )


def spliced(header, claims, signature):
    """Return a token with any header and signature, which no library would make.
    `signature` is a function of the signed bytes.
    """
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, claims)
    ]
    parts.append(base64.urlsafe_b64encode(signature(b".".join(parts))).rstrip(b"="))
    return b".".join(parts).decode()


def trust(settings, url):
    """Set the desk up to accept sign-ins from the provider at this address."""
    settings.OIDC_ISSUER = url
    settings.OIDC_NAME = "Acme"
    app = {
        "provider_id": url,
        "name": "Acme",
        "client_id": CLIENT_ID,
        "secret": "s",
        "settings": {"server_url": url},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}
    }


@dataclass
class Issuer:
    """The state of the provider. `answers` maps a path to a body that replaces the
    usual one; bytes are sent as they are.
    """

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    keys: list[Any] = field(default_factory=lambda: [published(KEY, "ES256")])
    # The token for each code.
    tokens: dict[str, Any] = field(default_factory=dict)

    def come_in(self, client, **claims):
        """Sign in at the desk with a token with these claims. Return the answer."""
        return client.get(BACK, self.begin(client, **claims))

    def begin(self, client, *, make=sign, then="", **claims):
        """Begin a sign-in. Return the query with which the provider sends the browser
        back; its code stands for a token with these claims, without those that are
        None.
        """
        began = client.get(BEGIN, {"next": then} if then else {})
        assert began.status_code == 302, began.content
        query = parse_qs(urlsplit(began["Location"]).query)
        now = int(time.time())
        whole = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": query["nonce"][0],
            "email": "ana@yourteam.example",
            "email_verified": True,
            **claims,
        }
        state = query["state"][0]
        self.tokens[state] = make(
            {name: value for name, value in whole.items() if value is not None}
        )
        return {"code": state, "state": state}

    def answer(self, path, form):
        """Return the body of the answer at a path."""
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            places = {
                "authorization_endpoint": "authorize",
                "token_endpoint": "token",
                "jwks_uri": "keys",
                "userinfo_endpoint": "userinfo",
            }
            return {
                "issuer": self.url,
                **{name: f"{self.url}/{place}" for name, place in places.items()},
            }
        if path == "/token":
            return {
                "access_token": "a",
                "token_type": "Bearer",
                "id_token": self.tokens[form["code"][0]],
            }
        return {"keys": self.keys} if path == "/keys" else {}


def issuing():
    """Serve a provider on a free port."""
    issuer = Issuer()

    def answer(handler):
        found = issuer.answer(handler.path, parse_qs(handler.body().decode()))
        handler.reply(200, found)

    return standing_in(issuer, answer)

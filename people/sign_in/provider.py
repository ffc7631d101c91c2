"""Signing in through an OpenID Connect provider. The provider says who somebody is; the
desk decides whether they may sign in.

No account is ever created. A person is found by their subject, which is the issuer's id
of them. Only a person without a stored subject is found by a verified address:
afterwards somebody else may get that address. Requests to the provider go through
`outgoing.guarded`.

The id token is verified by OpenID Connect Core 1.0, section 3.1.3.7.
"""

import secrets
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from http import HTTPStatus
from typing import Any

import jwt
import requests
from allauth.account.internal.flows.login import record_authentication
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin, SocialToken
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import (
    OAuth2CallbackView,
    OAuth2LoginView,
)
from allauth.socialaccount.providers.openid_connect.provider import (
    OpenIDConnectProvider,
)
from allauth.socialaccount.providers.openid_connect.views import (
    OpenIDConnectOAuth2Adapter,
)
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from audit.recording import record
from common.origins import is_confidential
from common.postgres import atomic_with_retry
from outgoing import guarded
from people.models import Person
from people.sign_in.factors import has_second_factor
from people.sign_in.reauthentication import PROVIDER_AUTH_TIME, limited, own_address
from people.sign_in.sessions import actor_of, record_failure

# Only algorithms with a private and a public key. With HS256, anybody could sign with
# the key that the provider publishes, and "none" needs no key at all.
ALGORITHMS = """
    RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA
""".split()
# By how many seconds the clocks of provider and desk may differ.
LEEWAY = 30
# Claims without which a token is refused.
_REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]


class IdTokenRefused(Exception):
    """The token is not accepted. The text says why, and contains nothing secret."""


def verified_claims(
    token: object, *, keys: Mapping[str, Any], issuer: str, client_id: str, nonce: str
) -> dict[str, Any]:
    """Return the claims of a token, if the issuer signed it for this client and this
    sign-in. Raises IdTokenRefused.

    `keys` is the issuer's JSON Web Key Set. It is fetched for each token, so it is
    never out of date.
    """
    if not isinstance(token, str):
        raise IdTokenRefused("there is none")
    try:
        claims = jwt.decode(
            token,
            _key_of(token, keys),
            algorithms=ALGORITHMS,
            issuer=issuer,
            audience=client_id,
            leeway=LEEWAY,
            options={"require": _REQUIRED, "enforce_minimum_key_length": True},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise IdTokenRefused(str(error)[:100]) from error
    is_for_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", "" if is_for_several else client_id) != client_id:
        raise IdTokenRefused("it was issued to another client")
    if claims["nonce"] != nonce:
        raise IdTokenRefused("it belongs to another sign-in")
    return claims


def _key_of(token: str, keys: Mapping[str, Any]) -> jwt.PyJWK:
    """Return the key that the token names, for use with the token's algorithm. PyJWT
    checks that key and algorithm fit.
    """
    header = jwt.get_unverified_header(token)
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise IdTokenRefused("its algorithm is not accepted")
    published = keys.get("keys")
    matching = [
        row
        for row in (published if isinstance(published, list) else ())
        if isinstance(row, dict)
        and row.get("use", "sig") == "sig"
        # A token need not name a key if the issuer has only one.
        and header.get("kid") in (None, row.get("kid"))
    ]
    if len(matching) != 1:
        raise IdTokenRefused("no key of the issuer's is the one that it names")
    return jwt.PyJWK(matching[0], algorithm=matching[0].get("alg") or algorithm)


# In the session: the nonce of the sign-in that this browser began, and when it began.
_BEGUN = "provider_sign_in"
# The addresses in the provider's configuration that are used, and have to be https.
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_MAX_SUBJECT = SocialAccount._meta.get_field("uid").max_length
# What is raised when an answer does not have the form that OAuth prescribes.
_UNREADABLE = (ValueError, KeyError, TypeError, RecursionError)


class ProviderRefused(OAuth2Error):  # type: ignore[misc]
    """The desk does not accept what the provider sent. The sentence is shown to the
    person and stored in the ledger, so it contains nothing secret.
    """


class GuardedSession(AbstractContextManager["GuardedSession"]):
    """The part of the requests.Session API that allauth uses, by way of
    `outgoing.guarded`: no redirects, no proxies, limited time and size.
    """

    def __exit__(self, *error: object) -> None:
        """Do nothing: each request closes its own connection."""

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """Send one request and return the answer. Raises requests.ConnectionError, for
        which allauth shows its error page.
        """
        prepared = requests.Request(method, url, **kwargs).prepare()
        body = prepared.body or b""
        try:
            answer = guarded.request(
                method,
                str(prepared.url),
                body=body.encode() if isinstance(body, str) else body,
                headers={name: str(value) for name, value in prepared.headers.items()},
            )
        except guarded.DeliveryError as error:
            raise requests.ConnectionError(str(error)) from error
        response = requests.Response()
        response.status_code = answer.status
        response.headers = answer.headers
        response.url = str(prepared.url)
        response._content = answer.body
        return response


class DeskProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """The provider. It adds a nonce to the request to sign in: the id token has to
    repeat it, which ties the token to this browser's sign-in.
    """

    def get_auth_params_from_request(
        self, request: HttpRequest, action: str
    ) -> dict[str, Any]:
        nonce = secrets.token_urlsafe(24)
        request.session[_BEGUN] = {"nonce": nonce, "at": time.time()}
        # Unlike allauth's method, this takes no parameters from the request's query.
        params = self.get_auth_params() | {"nonce": nonce}
        if request.user.is_authenticated:
            # This is a reauthentication: a session that the person already has at the
            # provider is no proof.
            params |= {"prompt": "login", "max_age": "0"}
        return dict(params)

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        return list(self.get_scope())

    def get_oauth2_adapter(self, request: HttpRequest) -> "DeskClient":
        return DeskClient(request)


class DeskClient(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """allauth's client of the provider. It believes only what the issuer signed for
    this sign-in.
    """

    # When the provider last asked the person who they are, in seconds since 1970; 0 if
    # it does not say, or names a time in the future.
    auth_time = 0.0

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, settings.OIDC_ISSUER)

    @cached_property
    def openid_config(self) -> dict[str, Any]:
        """Return the provider's configuration, fetched once for each request."""
        _check_confidential(settings.OIDC_ISSUER)
        config = _read_object(self.get_provider().server_url)
        issuer = str(config.get("issuer"))
        if issuer.rstrip("/") != settings.OIDC_ISSUER:
            raise ProviderRefused(
                f"The configuration at OIDC_ISSUER is that of another issuer, {issuer[:100]!r}. The operator of "
                "this desk must set OIDC_ISSUER to the issuer's own address."
            )
        for name in _ENDPOINTS:
            _check_confidential(config.get(name))
        return config

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return f"{settings.PUBLIC_URL}{reverse('oidc-callback')}"

    def parse_token(self, data: Any) -> SocialToken:
        """Return the access token. It is only used to ask for the person's address, and
        never stored.
        """
        if not isinstance(data["access_token"], str):
            raise TypeError("access_token is no text")
        return SocialToken(token=data["access_token"])

    def complete_login(
        self, request: HttpRequest, app: Any, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        """Return who signed in, after verifying the id token. Raises
        ProviderRefused.
        """
        begun = request.session.pop(_BEGUN, None)
        if begun is None:
            raise ProviderRefused(
                "This sign-in was not started in this browser, or was already used. Start again."
            )
        config = self.openid_config
        try:
            claims = verified_claims(
                kwargs["response"].get("id_token"),
                keys=_read_object(config["jwks_uri"]),
                issuer=config["issuer"],
                client_id=app.client_id,
                nonce=begun["nonce"],
            )
        except IdTokenRefused as error:
            raise ProviderRefused(
                f"The id token of {settings.OIDC_NAME} is not accepted: {error}."
            ) from error
        subject = claims["sub"]
        is_text = subject.isascii() and subject.isprintable()
        if not (is_text and 0 < len(subject) <= _MAX_SUBJECT):
            raise ProviderRefused(
                f"{settings.OIDC_NAME} names you by an id of {len(subject)} characters. This desk accepts up to "
                f"{_MAX_SUBJECT} printable ASCII characters."
            )
        auth_time = claims.get("auth_time")
        if isinstance(auth_time, int | float) and 0 < auth_time <= time.time() + LEEWAY:
            self.auth_time = float(auth_time)
        if request.user.is_authenticated and self.auth_time < begun["at"] - LEEWAY:
            raise ProviderRefused(
                f"{settings.OIDC_NAME} did not say that it asked you again who you are. To confirm your identity here, "
                "use a password, a passkey or an app; an admin can make you a link to set a password."
            )
        # If the token has no address, the provider's user info has it, and says whether
        # it is verified.
        user_info = config.get("userinfo_endpoint")
        if "email" not in claims and user_info:
            _check_confidential(user_info)
            claims = _read_object(
                user_info, headers={"Authorization": f"Bearer {token.token}"}
            )
            if claims.get("sub") != subject:
                raise ProviderRefused(
                    f"{settings.OIDC_NAME} named two people for one sign-in."
                )
        email = claims.get("email")
        if not isinstance(email, str) or not email.isprintable():
            email = ""
        email = email.strip()
        person = {
            "sub": subject,
            # In lower case, the Kelvin sign would become a k and match somebody else's
            # address. So other letters than those of ASCII stay as they are.
            "email": email.lower() if email.isascii() else email,
            # Some providers send a string, and "false" is truthy.
            "email_verified": str(claims.get("email_verified")).lower() == "true",
        }
        return self.get_provider().sociallogin_from_response(
            request, {"id_token": person}
        )


def _check_confidential(url: object) -> None:
    if not isinstance(url, str) or not is_confidential(url):
        raise ProviderRefused(
            f"{settings.OIDC_NAME} is not asked at {str(url)[:100]!r}: its addresses must be https, or plain http on "
            "this machine."
        )


def _read_object(url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Fetch a JSON object from the provider. Raises ProviderRefused and
    requests.ConnectionError.
    """
    answer = GuardedSession().request("GET", url, headers=headers)
    try:
        content = answer.json() if answer.status_code == 200 else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ProviderRefused(
            f"{settings.OIDC_NAME} answered {answer.status_code} without usable content."
        )
    return content


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Signs in only people who have an account at the desk."""

    def get_provider(
        self, request: HttpRequest, provider: str, client_id: str | None = None
    ) -> DeskProvider:
        return DeskProvider(
            request, app=self.get_app(request, provider=provider, client_id=client_id)
        )

    def get_requests_session(self) -> GuardedSession:
        return GuardedSession()

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Find the account of the person who comes from the provider, and store their
        subject; everybody else gets an error page.
        """
        account: SocialAccount | None = sociallogin.account
        claims = sociallogin.account.extra_data["id_token"]
        address = claims["email"]
        verified = claims["email_verified"]
        person: Person | None = sociallogin.user if sociallogin.is_existing else None
        if not sociallogin.is_existing and verified and address:
            person = Person.objects.filter(email=address).first()
        if person is None or not person.is_active:
            record_failure(None, reason="provider: nobody of the desk", email=address)
            raise _unknown(request, address=address, verified=verified)
        if not sociallogin.is_existing:
            account = _link(request, person, sociallogin.account)
        if account is None:
            record_failure(
                None,
                reason="provider: another identity with the address of an account",
                email=address,
            )
            raise _unknown(request, address=address, verified=verified, is_taken=True)
        # Only the subject is stored: no other claims and no token, neither here nor in
        # the session while the second step is asked.
        account.extra_data = {}
        account.save(update_fields=["extra_data"])
        sociallogin.account = account
        sociallogin.user = person
        sociallogin.token = None
        if request.user == person and not has_second_factor(person.pk):
            # A reauthentication. allauth would end the session first, and with it the
            # request that waits there.
            record_authentication(
                request, person, method="socialaccount", reauthenticated=True
            )
            address = own_address(request, sociallogin.get_redirect_url(request) or "")
            raise ImmediateHttpResponse(redirect(address))

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, **kwargs: Any
    ) -> None:
        """Answer with an error page, which gives a reason only if it is a
        ProviderRefused, and write the reason to the ledger.
        """
        cause = kwargs.get("exception")
        if isinstance(cause, ProviderRefused):
            raise ImmediateHttpResponse(_refused(request, cause, status=401))
        reason = f"provider: {cause or kwargs.get('error') or 'unknown'}"
        if isinstance(cause, OAuth2Error):
            # The provider's answer may contain a token.
            reason = "provider: refused"
        record_failure(None, reason=reason[:80])
        raise ImmediateHttpResponse(_failed(request, status=401))


@atomic_with_retry
def _link(
    request: HttpRequest, person: Person, account: SocialAccount
) -> SocialAccount | None:
    """Store the subject as this person's, for good, and return the account at the
    provider; None if the person has another subject of this issuer.
    """
    # If two subjects come at the same moment, one waits here until the other is stored.
    Person.objects.select_for_update().get(pk=person.pk)
    linked: SocialAccount | None = SocialAccount.objects.filter(
        user=person, provider=account.provider
    ).first()
    if linked is None:
        linked = SocialAccount.objects.create(
            user=person, provider=account.provider, uid=account.uid
        )
        record(
            "person.provider_linked",
            actor_of(request, person),
            details={"issuer": account.provider, "subject": account.uid},
            about=person,
        )
    return linked if linked.uid == account.uid else None


@require_safe
@limited("provider", limit_get=True)
def begin(request: HttpRequest) -> HttpResponse:
    """Redirect to the provider. If the link to this page was on another site, ask
    first: it could sign a person in as somebody else.
    """
    _check()
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return render(
            request, "socialaccount/begin.html", {"provider": settings.OIDC_NAME}
        )
    # Pass on only `next`: the query could also ask allauth for something else than
    # signing in.
    query = QueryDict(mutable=True)
    query["next"] = request.GET.get("next", "")
    request.GET = query  # type: ignore[assignment]
    try:
        answer: HttpResponse = OAuth2LoginView.adapter_view(DeskClient(request))(
            request
        )
    except ProviderRefused as error:
        return _refused(request, error, status=502)
    except (requests.RequestException, OAuth2Error, *_UNREADABLE) as error:
        record_failure(None, reason=f"provider: {type(error).__name__}")
        return _failed(request, status=502)
    return answer


@require_safe
@limited("provider", limit_get=True)
def come_back(request: HttpRequest) -> HttpResponse:
    """Handle the provider's callback and sign the person in. If they have a second
    factor, the second step follows.
    """
    _check()
    client = DeskClient(request)
    try:
        answer: HttpResponse = OAuth2CallbackView.adapter_view(client)(request)
    except _UNREADABLE:
        record_failure(None, reason="provider: unreadable answer")
        return _failed(request, status=502)
    if answer.status_code == HTTPStatus.FOUND:
        # Stored only now, because signing in begins a new session, and because a
        # refused callback proves nothing about whoever is signed in.
        request.session[PROVIDER_AUTH_TIME] = client.auth_time
    return answer


def _check() -> None:
    if not settings.OIDC_ISSUER:
        raise Http404("This desk has no sign-in provider.")


def _unknown(request: HttpRequest, **context: Any) -> ImmediateHttpResponse:
    context["provider"] = settings.OIDC_NAME
    return ImmediateHttpResponse(
        render(request, "socialaccount/unknown.html", context, status=403)
    )


def _refused(
    request: HttpRequest, error: ProviderRefused, *, status: int
) -> HttpResponse:
    record_failure(None, reason=f"provider: {error}")
    return _failed(request, status=status, sentence=str(error))


def _failed(request: HttpRequest, *, status: int, sentence: str = "") -> HttpResponse:
    context = {"provider": settings.OIDC_NAME, "sentence": sentence}
    return render(request, "socialaccount/failed.html", context, status=status)

"""Signing in through an OpenID Connect provider: it authenticates, and the desk decides
who may sign in.

It never creates accounts. A person is found by the issuer's id of them (its subject),
and only before they have one by a verified address: whoever gets that address later is
somebody else. Requests to the provider go through the guarded session.
"""

import secrets
import time
from contextlib import AbstractContextManager
from functools import partialmethod
from http import HTTPStatus
from typing import Any

import requests
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
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from audit.recording import record
from common.origins import is_confidential
from common.postgres import atomic_with_retry
from outgoing import guarded
from people.models import Person
from people.sign_in.id_token import LEEWAY, IdTokenRefused, verified_claims
from people.sign_in.reauthentication import PROVIDER_AUTH_TIME
from people.sign_in.sessions import actor_of, record_failure

# In the session: the nonce of the sign-in that this browser began, and when it began.
_BEGUN = "provider_sign_in"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_MAX_SUBJECT = SocialAccount._meta.get_field("uid").max_length
# What reading an answer raises that has another form than OAuth's.
_UNREADABLE = (ValueError, KeyError, TypeError, RecursionError)


class ProviderRefused(OAuth2Error):  # type: ignore[misc]
    """What the provider sent is not accepted. The sentence is for the person and for
    the ledger: nothing secret.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class GuardedSession(AbstractContextManager["GuardedSession"]):
    """The part of the requests.Session API that allauth uses: no redirects, no proxies,
    limited time and size.
    """

    def __exit__(self, *error: object) -> None:
        """Each request closes its own connection."""

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """Send one request. Raises ConnectionError of requests, which allauth answers
        with its page of errors.
        """
        used = ("params", "data", "headers", "auth")
        wanted = requests.Request(
            method, url, **{name: kwargs.get(name) for name in used}
        ).prepare()
        body = wanted.body or b""
        try:
            answer = guarded.request(
                method,
                str(wanted.url),
                body=body.encode() if isinstance(body, str) else body,
                headers={name: str(value) for name, value in wanted.headers.items()},
            )
        except guarded.DeliveryError as error:
            raise requests.ConnectionError(str(error)) from error
        response = requests.Response()
        response.status_code = answer.status
        response.headers = answer.headers
        response.url = str(wanted.url)
        response._content = answer.body
        return response

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")


class DeskProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """The provider, with a nonce that ties its signed token to the sign-in that this
    browser began.
    """

    def get_auth_params_from_request(
        self, request: HttpRequest, action: str
    ) -> dict[str, Any]:
        nonce = secrets.token_urlsafe(24)
        request.session[_BEGUN] = {"nonce": nonce, "at": time.time()}
        # Ignore the request's query.
        params = self.get_auth_params() | {"nonce": nonce}
        if request.user.is_authenticated:
            # For a reauthentication: an older session at the provider is no proof.
            params |= {"prompt": "login", "max_age": "0"}
        return dict(params)

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        return list(self.get_scope())

    def get_oauth2_adapter(self, request: HttpRequest) -> "DeskClient":
        return DeskClient(request)


class DeskClient(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """allauth's client, which believes only what the issuer signed for this sign-in."""

    # When the provider last asked the person who they are; 0 where it does not say, or
    # says what cannot be.
    auth_time = 0.0

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, settings.OIDC_ISSUER)

    @property
    def openid_config(self) -> dict[str, Any]:
        """Return the provider's configuration, fetched once for each request."""
        if not hasattr(self, "_openid_config"):
            _check_confidential(settings.OIDC_ISSUER)
            found = _read_object(self.get_provider().server_url)
            issuer = str(found.get("issuer"))
            if issuer.rstrip("/") != settings.OIDC_ISSUER:
                raise ProviderRefused(
                    f"The configuration at OIDC_ISSUER is that of another issuer, {issuer[:100]!r}. Whoever runs "
                    "this desk must set OIDC_ISSUER to the issuer's own address."
                )
            for name in _ENDPOINTS:
                _check_confidential(found.get(name))
            self._openid_config = found
        return self._openid_config

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return request.build_absolute_uri(reverse("oidc-callback"))

    def parse_token(self, data: Any) -> SocialToken:
        """Return the access token, which is only used to ask for the address, and never
        stored.
        """
        if not isinstance(data["access_token"], str):
            raise TypeError("access_token is no text")
        return SocialToken(token=data["access_token"])

    def complete_login(
        self, request: HttpRequest, app: Any, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        """Return who signed in, by the verified id token."""
        begun = request.session.pop(_BEGUN, None)
        if begun is None:
            raise ProviderRefused(
                "This sign-in was not begun in this browser, or is used already. Begin again."
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
        at = claims.get("auth_time")
        if isinstance(at, int | float) and 0 < at <= time.time() + LEEWAY:
            self.auth_time = float(at)
        if request.user.is_authenticated and self.auth_time < begun["at"] - LEEWAY:
            raise ProviderRefused(
                f"{settings.OIDC_NAME} did not say that it asked you again who you are. To confirm your identity here, "
                "use a password, a passkey or an app; an admin can make you a link to set a password."
            )
        # The address, and whether it is verified, come from the token or the provider's
        # user info.
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
            # A Kelvin sign in lower case is a k: only letters of ASCII have two cases
            # here.
            "email": email.lower() if email.isascii() else email,
            # Require True: the string "false" is truthy.
            "email_verified": claims.get("email_verified") is True,
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
    """Fetch a JSON object from the provider. Raises ProviderRefused, and
    ConnectionError of requests.
    """
    answer = GuardedSession().request("GET", url, headers=headers)
    try:
        found = answer.json() if answer.status_code == 200 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProviderRefused(
            f"{settings.OIDC_NAME} answered {answer.status_code} without usable content."
        )
    return found


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Signs in only people who have an account."""

    def get_provider(
        self, request: HttpRequest, provider: str, client_id: str | None = None
    ) -> DeskProvider:
        return DeskProvider(
            request, app=self.get_app(request, provider=provider, client_id=client_id)
        )

    def get_requests_session(self) -> GuardedSession:
        return GuardedSession()

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Find the person's account and store their id at the provider; everybody else
        gets an error page.
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
        # Only the provider's id of this person is stored: no other claims and no token,
        # neither here nor in the session while a second step is asked.
        account.extra_data = {}
        account.save(update_fields=["extra_data"])
        sociallogin.account = account
        sociallogin.user = person
        sociallogin.token = None

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, **kwargs: Any
    ) -> None:
        """Show the same error page for all reasons; the ledger has the reason."""
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
    """Store the subject as the person's, for good; None where they have another one of
    this issuer.
    """
    # Of two subjects that come at the same moment one waits here for the other.
    Person.objects.select_for_update().get(pk=person.pk)
    linked: SocialAccount | None = SocialAccount.objects.filter(
        user=person, provider=account.provider
    ).first()
    if linked is None:
        linked = SocialAccount.objects.create(
            user=person, provider=account.provider, uid=account.uid
        )
        actor = actor_of(request, person)
        details = {"issuer": account.provider, "subject": account.uid}
        record("person.provider_linked", actor=actor, details=details, about=person)
    return linked if linked.uid == account.uid else None


@require_safe
def begin(request: HttpRequest) -> HttpResponse:
    """Redirect to the provider. Ask first if another site linked here: it could sign a
    person in as somebody else.
    """
    _check()
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return render(
            request, "socialaccount/begin.html", {"provider": settings.OIDC_NAME}
        )
    # Only to sign in: django-allauth's other processes are requested in the query.
    asked = QueryDict(mutable=True)
    asked["next"] = request.GET.get("next", "")
    request.GET = asked  # type: ignore[assignment]
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
def come_back(request: HttpRequest) -> HttpResponse:
    """Handle the provider's callback and sign the person in; a second step follows if
    they have a factor.
    """
    _check()
    client = DeskClient(request)
    try:
        answer: HttpResponse = OAuth2CallbackView.adapter_view(client)(request)
    except _UNREADABLE:
        record_failure(None, reason="provider: unreadable answer")
        return _failed(request, status=502)
    if answer.status_code == HTTPStatus.FOUND:
        # Only now: signing in has begun another session, and a refusal says nothing
        # about who is in this one.
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
    record_failure(None, reason=f"provider: {error.sentence}")
    return _failed(request, status=status, sentence=error.sentence)


def _failed(request: HttpRequest, *, status: int, sentence: str = "") -> HttpResponse:
    context = {"provider": settings.OIDC_NAME, "sentence": sentence}
    return render(request, "socialaccount/failed.html", context, status=status)

"""Signing in through an OpenID Connect provider: it authenticates, and the desk decides who may sign in.

It never creates accounts. A person is found by the provider's id once that is stored, and before by a verified
address. Requests to the provider go through the guarded session.
"""

import secrets
import time
from types import TracebackType
from typing import Any

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin, SocialToken
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from outgoing import guarded
from people.models import Person
from people.sign_in.events import record_failure

_NONCE = "provider_nonce"
# How old a fresh sign-in at the provider may be.
_FRESH_SECONDS = 300


class GuardedSession:
    """The part of the requests.Session API that allauth uses: no redirects, no proxies, limited time and size."""

    def __enter__(self) -> "GuardedSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Each request closes its own connection."""

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        return self.request("GET", url, **kwargs)

    def post(self, url: str, **kwargs: Any) -> requests.Response:
        return self.request("POST", url, **kwargs)

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """Send one request. Raises ConnectionError of requests, which allauth answers with its page of errors."""
        wanted = requests.Request(
            method, url, **{name: kwargs.get(name) for name in ("params", "data", "headers", "auth")}
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
        response.status_code, response.headers, response.url = answer.status, answer.headers, str(wanted.url)
        response._content = answer.body
        return response


class DeskProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """The provider, with a nonce that ties its signed token to the sign-in that this browser began."""

    def get_auth_params_from_request(self, request: HttpRequest, action: str) -> dict[str, Any]:
        request.session[_NONCE] = secrets.token_urlsafe(24)
        # For a reauthentication: an older session at the provider is no proof.
        fresh = {"prompt": "login", "max_age": "0"} if request.user.is_authenticated else {}
        # Ignore the request's query.
        return {**self.get_auth_params(), **fresh, "nonce": request.session[_NONCE]}

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        return list(self.get_scope())

    def get_oauth2_adapter(self, request: HttpRequest) -> "DeskClient":
        return DeskClient(request, self.app.provider_id)


class DeskClient(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """allauth's client, with additional checks of the issuer, the nonce, and that both answers agree."""

    @property
    def openid_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().openid_config
        if str(config.get("issuer", "")).rstrip("/") != settings.OIDC_ISSUER:
            raise OAuth2Error("The provider names itself otherwise than OIDC_ISSUER does.")
        return config

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return request.build_absolute_uri(reverse("oidc-callback"))

    def complete_login(self, request: HttpRequest, app: Any, token: SocialToken, **kwargs: Any) -> SocialLogin:
        """Check the nonce, and that the id token and the user info are of one person."""
        nonce = request.session.pop(_NONCE, "")
        login = super().complete_login(request, app, token, **kwargs)
        signed = login.account.extra_data.get("id_token") or {}
        if not nonce or not secrets.compare_digest(str(signed.get("nonce", "")).encode(), nonce.encode()):
            raise OAuth2Error("What the provider signed does not belong to this sign-in.")
        if str(signed.get("sub")) != login.account.uid:
            raise OAuth2Error("The provider names two people.")
        age = time.time() - float(signed.get("auth_time") or time.time())
        if request.user.is_authenticated and age > _FRESH_SECONDS:
            raise OAuth2Error("The provider did not ask anew who this is.")
        return login


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Signs in only people who have an account."""

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> DeskProvider:
        return DeskProvider(request, app=self.get_app(request, provider=provider, client_id=client_id))

    def get_requests_session(self) -> GuardedSession:
        return GuardedSession()

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Find the person's account and store their id at the provider; everybody else gets an error page."""
        known = sociallogin.account.extra_data
        claims = known.get("userinfo") or known.get("id_token") or {}
        address = str(claims.get("email") or "").strip().lower()
        # Require True: the string "false" is truthy.
        verified = claims.get("email_verified") is True
        person: Person | None = sociallogin.user if sociallogin.is_existing else None
        if not sociallogin.is_existing and verified and address:
            person = Person.objects.filter(email=address).first()
        if person is None or not person.is_active:
            record_failure(None, reason="provider: nobody of the desk", email=address)
            context = {"address": address, "verified": verified, "provider": settings.OIDC_NAME}
            raise ImmediateHttpResponse(render(request, "socialaccount/unknown.html", context, status=403))
        # Only the provider's id of this person is stored: no other claims and no token, neither
        # here nor in the session while a second step is asked.
        account, _ = SocialAccount.objects.update_or_create(
            provider=sociallogin.account.provider,
            uid=sociallogin.account.uid,
            defaults={"user": person, "extra_data": {}},
        )
        sociallogin.account, sociallogin.user, sociallogin.token = account, person, None

    def on_authentication_error(self, request: HttpRequest, provider: Any, **kwargs: Any) -> None:
        """Show the same error page for all reasons; the ledger has the reason."""
        cause = kwargs.get("exception")
        reason = f"provider: {cause or kwargs.get('error') or 'unknown'}"
        # The provider's answer may contain a token.
        record_failure(None, reason=reason[:80] if not isinstance(cause, OAuth2Error) else "provider: refused")
        raise ImmediateHttpResponse(_failed(request, status=401))


@require_safe
def begin(request: HttpRequest) -> HttpResponse:
    """Redirect to the provider. Ask first if another site linked here: it could sign a person in as somebody else."""
    _check()
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return render(request, "socialaccount/begin.html", {"provider": settings.OIDC_NAME})
    # Only to sign in: django-allauth's other processes are requested in the query.
    asked = QueryDict(mutable=True)
    asked["next"] = request.GET.get("next", "")
    request.GET = asked  # type: ignore[assignment]
    try:
        answer: HttpResponse = OAuth2LoginView.adapter_view(DeskClient(request, "desk"))(request)
    except (requests.RequestException, OAuth2Error, ValueError, KeyError) as error:
        record_failure(None, reason=f"provider: {type(error).__name__}")
        return _failed(request, status=502)
    return answer


@require_safe
def come_back(request: HttpRequest) -> HttpResponse:
    """Handle the provider's callback and sign the person in; a second step follows if they have a factor."""
    _check()
    try:
        answer: HttpResponse = OAuth2CallbackView.adapter_view(DeskClient(request, "desk"))(request)
    except (ValueError, KeyError):
        record_failure(None, reason="provider: unreadable answer")
        return _failed(request, status=502)
    return answer


def _check() -> None:
    if not settings.OIDC_ISSUER:
        raise Http404("This desk has no sign-in provider.")


def _failed(request: HttpRequest, *, status: int) -> HttpResponse:
    return render(request, "socialaccount/failed.html", {"provider": settings.OIDC_NAME}, status=status)

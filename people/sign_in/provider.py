"""Signing in through an OpenID Connect provider: it says who somebody is, the desk says who comes in.

Nobody gets an account by it. The provider's own number of a person counts once it is known; until then a verified
address of an active person does. What is asked of the provider goes through the guarded session.
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
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import render
from django.urls import reverse

from outgoing import guarded
from people.models import Person
from people.sign_in.second_step import note_failure

_NONCE = "provider_nonce"
# So long a sign-in at the provider may take to lead back here.
_ANEW_SECONDS = 300


class GuardedSession:
    """As much of a requests session as allauth uses: no redirects, no proxies, bounds on time and size."""

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
    """The provider, with a nonce: what it signs belongs to the sign-in that this browser began."""

    def get_auth_params_from_request(self, request: HttpRequest, action: str) -> dict[str, Any]:
        request.session[_NONCE] = secrets.token_urlsafe(24)
        # Who is signed in confirms who they are: to be known there from before is no proof of that.
        anew = {"prompt": "login", "max_age": "0"} if request.user.is_authenticated else {}
        # Nothing that stands in the address of the request.
        return {**self.get_auth_params(), **anew, "nonce": request.session[_NONCE]}

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        return list(self.get_scope())

    def get_oauth2_adapter(self, request: HttpRequest) -> "DeskClient":
        return DeskClient(request, self.app.provider_id)


class DeskClient(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """What allauth does with the provider, and what it leaves open: whose word it is, and to which question."""

    @property
    def openid_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().openid_config
        if str(config.get("issuer", "")).rstrip("/") != settings.OIDC_ISSUER:
            raise OAuth2Error("The provider names itself otherwise than OIDC_ISSUER does.")
        return config

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return request.build_absolute_uri(reverse("oidc-callback"))

    def complete_login(self, request: HttpRequest, app: Any, token: SocialToken, **kwargs: Any) -> SocialLogin:
        """Check the nonce, and that both of the provider's words are of one person."""
        nonce = request.session.pop(_NONCE, "")
        login = super().complete_login(request, app, token, **kwargs)
        said = login.account.extra_data
        signed = said.get("id_token") or {}
        if not nonce or not secrets.compare_digest(str(signed.get("nonce", "")).encode(), nonce.encode()):
            raise OAuth2Error("What the provider signed does not belong to this sign-in.")
        if str(signed.get("sub")) != login.account.uid:
            raise OAuth2Error("The provider names two people.")
        if (
            request.user.is_authenticated
            and time.time() - float(signed.get("auth_time") or time.time()) > _ANEW_SECONDS
        ):
            raise OAuth2Error("The provider did not ask anew who this is.")
        return login


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Lets in whom the desk knows."""

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> DeskProvider:
        return DeskProvider(request, app=self.get_app(request, provider=provider, client_id=client_id))

    def get_requests_session(self) -> GuardedSession:
        return GuardedSession()

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Find whose account it is and tie it to them; everybody else gets a page that says so."""
        said = sociallogin.account.extra_data.get("userinfo") or sociallogin.account.extra_data.get("id_token") or {}
        address = str(said.get("email") or "").strip().lower()
        if sociallogin.is_existing:
            person: Person | None = sociallogin.user
        else:
            # The word "false" is no verification either.
            verified = said.get("email_verified") is True
            person = Person.objects.filter(email=address).first() if verified and address else None
        if person is None or not person.is_active:
            raise ImmediateHttpResponse(_refused(request, address, verified=said.get("email_verified") is True))
        _tie(sociallogin, person)

    def on_authentication_error(self, request: HttpRequest, provider: Any, **kwargs: Any) -> None:
        """Say that it did not work, in one page for all reasons; which it was stands in the ledger."""
        cause = kwargs.get("exception")
        reason = f"provider: {cause or kwargs.get('error') or 'unknown'}"
        # What the provider answered may hold a token.
        note_failure(None, reason=reason[:80] if not isinstance(cause, OAuth2Error) else "provider: refused")
        page = render(request, "socialaccount/failed.html", {"provider": settings.OIDC_NAME}, status=401)
        raise ImmediateHttpResponse(page)


def _tie(sociallogin: SocialLogin, person: Person) -> None:
    """Remember the provider's number of this person: from now on it counts, whatever the address is.

    Nothing else is kept, neither here nor in the session while a second step is asked: not what the provider tells of
    the person, and not the token that it would tell more for.
    """
    account, _ = SocialAccount.objects.update_or_create(
        provider=sociallogin.account.provider, uid=sociallogin.account.uid, defaults={"user": person, "extra_data": {}}
    )
    sociallogin.account, sociallogin.user, sociallogin.token = account, person, None


def _refused(request: HttpRequest, address: str, *, verified: bool) -> Any:
    note_failure(None, reason="provider: nobody of the desk", email=address)
    context = {"address": address, "verified": verified, "provider": settings.OIDC_NAME}
    return render(request, "socialaccount/unknown.html", context, status=403)

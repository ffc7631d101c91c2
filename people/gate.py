"""The second factor that a role needs: whoever has not proved one reaches nothing but the page to set it up.

It stands before every view, so that a page, its fragment, its twin for scripts and the live stream are all behind it,
whatever led in: a password, a provider, a link for a new password, a session from before the rule.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from allauth.account.internal.flows.login import get_authentication_records
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from people.models import Person
from people.sign_in.factors import has_second_factor, needs_second_factor

Next = Callable[[HttpRequest], HttpResponseBase]

SENTENCE = "Your role needs a second factor. Prove one first."
# What is everybody's, signed in or not.
PUBLIC = {
    *("healthz", "readyz", "metrics", "live", "csp-report", "account_login", "account_logout"),
    *("multimail-webhook", "discord-interactions"),
}
# What somebody needs who has none: these pages show and change nothing of the desk.
SETTING_UP = {"factor-app", "factor-passkey"}
# What who has one needs too, to prove it. No second one is added without the first.
PROVING = {
    "factors",
    *("account_reauthenticate", "account_go_on", "mfa_reauthenticate", "mfa_reauthenticate_webauthn"),
    *("oidc-login", "oidc-callback"),
}


class SecondFactorMiddleware:
    """Stops whoever needs a second factor and has proved none. Costs no query: the person was read with the rule."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        """Answer in the view's place, or let it run; the pages of setting up run without any role."""
        name = request.resolver_match.url_name if request.resolver_match else ""
        if name in PUBLIC or not lacks_second_factor(request):
            return None
        if name not in PROVING and (name not in SETTING_UP or has_second_factor(request.user.pk)):  # type: ignore[arg-type]
            return _stopped(request)
        # What those pages' frame would show of the desk is not theirs to see.
        request.actor = request.actor.acting_as()  # type: ignore[attr-defined]
        return None


def lacks_second_factor(request: HttpRequest) -> bool:
    """Whether whoever asks needs a second factor and has proved none in this session."""
    person = request.user
    return isinstance(person, Person) and needs_second_factor(person) and not has_proved_second(request)


def has_proved_second(request: HttpRequest) -> bool:
    """Whether this session began or went on with a second factor: a code, a recovery code, or a passkey."""
    return any(proof.get("method") == "mfa" for proof in get_authentication_records(request, request.user))


def _stopped(request: HttpRequest) -> HttpResponse:
    """Lead to the page where a factor is set up, or proved by who has one; nothing that was posted is done."""
    path = reverse("factors")
    if request.headers.get("HX-Request"):
        return HttpResponse(SENTENCE, status=403, headers={"HX-Redirect": path}, content_type="text/plain")
    accepted = request.headers.get("Accept", "")
    if request.GET.get("format") == "json" or ("text/html" not in accepted and "application/json" in accepted):
        return JsonResponse({"error": SENTENCE}, status=403)
    if request.method == "GET":
        path = f"{path}?{urlencode({'next': request.get_full_path()})}"
    return HttpResponseRedirect(path)

"""The way to the sign-in provider and back."""

from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe
from requests import RequestException

from people.sign_in.provider import DeskClient
from people.sign_in.second_step import note_failure


@require_safe
def begin(request: HttpRequest) -> HttpResponse:
    """Lead to the provider. Where another site led here, ask first: it could sign somebody in as somebody else."""
    _check()
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return render(request, "socialaccount/begin.html", {"provider": settings.OIDC_NAME})
    # Only to sign in: what else django-allauth could do is asked for in the address.
    asked = QueryDict(mutable=True)
    asked["next"] = request.GET.get("next", "")
    request.GET = asked  # type: ignore[assignment]
    try:
        answer: HttpResponse = OAuth2LoginView.adapter_view(DeskClient(request, "desk"))(request)
    except (RequestException, OAuth2Error, ValueError, KeyError) as error:
        note_failure(None, reason=f"provider: {type(error).__name__}")
        return render(request, "socialaccount/failed.html", {"provider": settings.OIDC_NAME}, status=502)
    return answer


@require_safe
def come_back(request: HttpRequest) -> HttpResponse:
    """Take what the provider says, and sign in whoever it is; a second step follows for who has a factor."""
    _check()
    try:
        answer: HttpResponse = OAuth2CallbackView.adapter_view(DeskClient(request, "desk"))(request)
    except (ValueError, KeyError):
        note_failure(None, reason="provider: unreadable answer")
        return render(request, "socialaccount/failed.html", {"provider": settings.OIDC_NAME}, status=502)
    return answer


def _check() -> None:
    if not settings.OIDC_ISSUER:
        raise Http404("This desk has no sign-in provider.")

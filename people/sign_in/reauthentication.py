"""Asks people to reauthenticate before a sensitive act, unless they have done so
recently; and limits how often they can try that, or try to sign in.

Meanwhile the posted data is stored in their session, encrypted. Afterwards the browser
posts again to the same URL, so that the request passes all middleware. It sends a
ticket in place of the data, which may contain a key: no page has it. django-allauth
would instead call the view itself, with the headers of another request, and store the
data unencrypted in the database.

The limits are in the settings (ACCOUNT_RATE_LIMITS), and attempts are counted in
PostgreSQL for all processes together. Pages for signed-in people are not counted, so
that a flood of attempts to sign in does not lock them out.
"""

import json
import math
import time
from collections.abc import Callable
from functools import wraps
from secrets import token_hex
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import (
    get_authentication_records,
    record_authentication,
)
from allauth.core.internal import ratelimit
from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.cache import cache
from django.db import transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    QueryDict,
)
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe

from audit.recording import record
from common.encryption import decrypt, encrypt
from common.pages import (
    DeskRequest,
    DrawnForm,
    View,
    answer,
    posted,
    require_get_or_post,
)
from rendering.invisibles import stripped


def limited(action: str, *, limit_get: bool = False) -> Callable[[View], View]:
    """Decorate a view: posts beyond the limit ACCOUNT_RATE_LIMITS[`action`], and with
    `limit_get` other requests too, are answered 429.

    Apply it after the method decorator.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not ratelimit.consume(
                request, app="allauth.account", action=action, limit_get=limit_get
            ):
                return too_many(request, action)
            return view(request, *args, **kwargs)

        return counted

    return decorate


def too_many(request: HttpRequest, action: str) -> HttpResponse:
    """Return the page with status 429, which says how long to wait."""
    rates = ratelimit.parse_rates(settings.ACCOUNT_RATE_LIMITS[action])
    waits = []
    # Limits for each account ("key") cannot be looked up: the account is not known
    # here. They last at most this long.
    longest = max((rate.duration for rate in rates if rate.per == "key"), default=60)
    for rate in rates:
        if rate.per != "key":
            # allauth stores the times of the attempts, the newest first.
            key = ratelimit.get_cache_key(
                request, app="allauth.account", action=action, rate=rate
            )
            tries = cache.get(key, [])
            if len(tries) >= rate.amount:
                waits.append(tries[-1] + rate.duration - time.time())
    wait = max(waits, default=0)
    request.retry_after = math.ceil(wait if wait > 0 else longest)  # type: ignore[attr-defined]
    answer: HttpResponse = ratelimit.respond_429(request)
    return answer


R = TypeVar("R", bound=HttpResponseBase)

# In the session: the posted data, encrypted.
_SAVED = "saved_request"
# The field in which the browser posts the ticket of the stored data.
_TICKET = "saved_request"
# The fields that are shown before a form with an old token is sent again.
_SHOWN = ("outcome", "reason", "text", "note", "subject")
# In the session: when the provider last asked the person who they are, in seconds since
# 1970. That may be long before they signed in here.
PROVIDER_AUTH_TIME = "provider_auth_time"
# After so many seconds the stored data is dropped, and has to be typed again.
_SAVED_SECONDS = 900
# In characters. Hashing longer input would only cost time.
MAX_PASSWORD = 256


class PasswordField(forms.CharField):
    """A password exactly as it was typed, with leading and trailing spaces."""

    def __init__(
        self, *, missing: str, autocomplete: str = "current-password", **kwargs: Any
    ) -> None:
        messages = {
            "required": missing,
            "max_length": f"Use a password of at most {MAX_PASSWORD} characters.",
        }
        super().__init__(
            strip=False,
            max_length=MAX_PASSWORD,
            error_messages=messages,
            widget=forms.PasswordInput({"autocomplete": autocomplete}),
            **kwargs,
        )


class NameField(forms.CharField):
    """A person's name, in which something can be seen."""

    default_error_messages = {"required": "Enter your name: others see it."}

    def to_python(self, value: Any) -> str:
        name = super().to_python(value) or ""
        return name if stripped(name).strip() else ""


class PersonForm(DrawnForm):
    """A form that is checked against one person's account."""

    def __init__(self, *args: Any, person: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person


class ConfirmForm(PersonForm):
    """The person's password, which confirms who they are."""

    password = PasswordField(missing="Enter your password.")
    password.widget.attrs["autofocus"] = True

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        if not self.person.check_password(password):
            raise forms.ValidationError("This is not your password.")
        return password


class NewPasswordForm(PersonForm):
    """A new password, typed twice to catch a typing error."""

    password = PasswordField(
        missing="Choose a password.",
        label="New password",
        help_text="At least 12 characters. Several unrelated words work best.",
        autocomplete="new-password",
    )
    password_again = PasswordField(
        missing="Repeat the password.",
        label="Repeat the password",
        autocomplete="new-password",
    )

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        validate_password(password, self.person)
        return password

    def clean(self) -> None:
        cleaned = self.cleaned_data
        again = cleaned.get("password_again")
        if again is not None and cleaned.get("password", again) != again:
            self.add_error("password_again", "The two passwords are not the same.")


def is_recently_authenticated(request: HttpRequest) -> bool:
    """Whether the person signed in or reauthenticated within
    ACCOUNT_REAUTHENTICATION_TIMEOUT, which is ten minutes.
    """
    if not request.user.is_authenticated:
        return False
    proofs = get_authentication_records(request, request.user)
    if not proofs:
        return False
    proved_at = proofs[-1]["at"]
    if proofs[-1]["method"] == "socialaccount":
        # What counts is when the provider asked. Otherwise it would be enough to sign
        # out and in again, for which a provider need not ask anything.
        proved_at = min(proved_at, request.session.get(PROVIDER_AUTH_TIME, 0))
    return bool(time.time() - proved_at < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT)


def reauthenticated(view: Callable[..., R]) -> Callable[..., R | HttpResponse]:
    """Decorate a view that needs a recent reauthentication. People without one are
    asked first, and the data that they posted is stored meanwhile.

    Apply it last: after method, login and permission. A view in which only one of
    several acts is sensitive calls `ask_first` itself.
    """

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> R | HttpResponse:
        if is_recently_authenticated(request):
            return view(request, *args, **kwargs)
        return ask_first(request)

    return checked


def ask_first(request: HttpRequest) -> HttpResponse:
    """Store the posted data, and redirect to the page to reauthenticate, which leads
    back to this request.
    """
    afterwards = request.get_full_path()
    if request.path != reverse("account_resubmit"):
        # What waited for an earlier confirmation was given up.
        request.session.pop(_SAVED, None)
    if request.method == "POST":
        _save(request)
        afterwards = reverse("account_resubmit")
    address = f"{reverse('account_reauthenticate')}?{urlencode({'next': afterwards, 'back': _page_of(request)})}"
    return _leading_to(request, address)


def offer_again(request: HttpRequest) -> HttpResponse | None:
    """If a page of this desk posted a form with an old CSRF token, store what it posted,
    and redirect to the page on which the person can send it again. Nothing sends it by
    itself.

    A token is old after the person has signed in again, in another tab. Return None for
    what another site or a script may have posted.
    """
    is_own = request.headers.get("Origin") == f"{request.scheme}://{request.get_host()}"
    # Scripts report with forms too: only what somebody pressed is offered again.
    mode = request.headers.get("Sec-Fetch-Mode", "navigate")
    is_pressed = mode == "navigate" or "HX-Request" in request.headers
    if not (request.user.is_authenticated and is_own and is_pressed and request.POST):
        return None
    if _TICKET not in request.POST:
        _save(request, has_old_token=True)
    return _leading_to(request, reverse("account_resubmit"))


def _save(request: HttpRequest, *, has_old_token: bool = False) -> None:
    fields = request.POST.copy()
    fields.pop("csrfmiddlewaretoken", None)
    saved = {
        "ticket": token_hex(16),
        "path": request.get_full_path(),
        "fields": fields.urlencode(),
        "at": time.time(),
        "person": str(request.user.pk),
        "has_old_token": has_old_token,
    }
    request.session[_SAVED] = encrypt(json.dumps(saved))


def _leading_to(request: HttpRequest, address: str) -> HttpResponse:
    if "HX-Request" in request.headers:
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


@require_get_or_post
@limited("reauthenticate")
def reauthenticate(request: DeskRequest) -> HttpResponse:
    """Ask for the password again. People without a password are redirected to another
    method.
    """
    afterwards = own_address(request, _sent(request, "next"))
    back = own_address(request, _sent(request, "back"))
    person: Any = request.user
    other_methods = [
        {**method, "url": f"{method['url']}?{urlencode({'next': afterwards})}"}
        for method in get_adapter().get_reauthentication_methods(person)
        if method["url"] != request.path
    ]
    if not person.has_usable_password():
        if other_methods:
            return redirect(other_methods[0]["url"])
        request.session.pop(_SAVED, None)
        return render(request, "account/no_proof.html", {"back": back}, status=403)
    form = ConfirmForm(posted(request), person=person)
    if form.is_bound:
        if form.is_valid():
            # A receiver in people.sign_in.sessions writes it to the ledger, and gives
            # the session another id.
            record_authentication(
                request, person, method="password", reauthenticated=True
            )
            return redirect(afterwards)
        with transaction.atomic():
            record("person.confirmation_failed", request.actor)
    context = {
        "form": form,
        "reauthentication_alternatives": other_methods,
        "redirect_field_name": "next",
        "redirect_field_value": afterwards,
        "back": back,
        **what_waits(request),
    }
    return answer(request, "account/reauthenticate.html", context, form=form)


@require_safe
def resubmit(request: DeskRequest) -> HttpResponse:
    """Show a page whose form posts the ticket of the stored data to the URL of the act.
    Opening the page changes nothing at the desk.
    """
    saved = _read_saved(request)
    has_old_token = saved is not None and saved.get("has_old_token", False)
    if not has_old_token and not is_recently_authenticated(request):
        return ask_first(request)
    if saved is None:
        return redirect("queue")
    context = what_waits(request, wanted=request.path)
    context["saved"] = saved
    # What is shown of it; a field of any other name may hold a secret.
    fields = QueryDict(saved["fields"])
    context["shown"] = [(name, fields[name]) for name in _SHOWN if fields.get(name)]
    return render(request, "account/go_on.html", context)


def restore_posted(request: HttpRequest) -> HttpResponse | None:
    """If a request posts a ticket, put the stored data in its place, once. Redirect to
    the queue if there is none for it: no act may run without its data.
    """
    ticket = request.POST.get(_TICKET)
    if ticket is None:
        return None
    saved = _read_saved(request)
    wanted = (ticket, request.get_full_path())
    if saved is None or (saved["ticket"], saved["path"]) != wanted:
        return redirect("queue")
    del request.session[_SAVED]
    request.POST = QueryDict(saved["fields"])
    return None


def what_waits(request: HttpRequest, wanted: str = "") -> dict[str, Any]:
    """Return the name of the address that waits for the confirmation, and whether
    posted data is stored for it.
    """
    wanted = wanted or _sent(request, "next")
    saved = _read_saved(request)
    path = saved["path"] if saved and wanted == reverse("account_resubmit") else wanted
    try:
        name = resolve(urlsplit(path).path).url_name or ""
    except (Resolver404, ValueError):
        name = ""
    return {"waiting": name, "has_kept": saved is not None}


def _sent(request: HttpRequest, name: str) -> str:
    return request.POST.get(name) or request.GET.get(name, "")


def own_address(request: HttpRequest, address: str) -> str:
    """Return the URL if it belongs to this desk, otherwise that of the queue."""
    is_own = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if is_own else reverse("queue")


def _read_saved(request: HttpRequest) -> dict[str, Any] | None:
    """Return the session's stored request, None if there is none, or if it is too old
    or another person's.
    """
    token = request.session.get(_SAVED)
    if not token:
        return None
    saved: dict[str, Any] = json.loads(decrypt(token))
    is_own = saved["person"] == str(request.user.pk)
    is_fresh = time.time() - saved["at"] <= _SAVED_SECONDS
    return saved if is_own and is_fresh else None


def _page_of(request: HttpRequest) -> str:
    """Return the path of the page from which the request came, by HX-Current-URL or
    Referer; the queue's if that is not known.
    """
    parts = urlsplit(
        request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    )
    if parts.netloc != request.get_host():
        return reverse("queue")
    return f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"

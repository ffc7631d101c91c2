"""Middleware of the desk: trace ids, security headers, compression, the actor of a
request, a page for 405, and records of what signed-in people were denied.
"""

import hashlib
import logging
import uuid
from collections.abc import Callable
from typing import Any
from uuid import UUID

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import DisallowedHost
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.functional import SimpleLazyObject

from alerts.models import Delivery
from approvals.models import Brake, BulkAct, SavedView
from audit.models import Entry, SavedSearch
from audit.recording import record
from common.actors import Actor
from common.addresses import client_address
from common.logs import mask_secrets, trace_id, traced
from common.time_zones import somebodys_time
from dashboard.frame import errors
from dashboard.live.views import live_origin
from mirror.models import Connection, Mailbox, Message, WebhookEvent
from notices.models import Notice
from people.models import PendingChange, Person
from policy.models import Allowlist, KillSwitch

Next = Callable[[HttpRequest], HttpResponseBase]

# The Content-Security-Policy of the frame that shows a message's content.
_FRAME_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox"
)
# In seconds.
ONE_YEAR = 365 * 24 * 60 * 60


class Middleware:
    """Base class of the middleware here. Django passes it the next middleware, or the
    view.
    """

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response


class CompressMiddleware(GZipMiddleware):
    """Compresses a response only if the browser says, in Sec-Fetch-Site, that a page of
    the desk made the request, or the person directly, and not another site.

    The size of a compressed response reveals something about its content to an attacker
    who sees the size and can choose a part of the content. So requests of other sites
    get uncompressed responses, and so does the frame with a message's content.
    Otherwise the size is random, because Django adds up to 100 bytes and each response
    has another CSRF token.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        site = request.headers.get("Sec-Fetch-Site", "")
        if site not in ("same-origin", "none") or getattr(
            response, "is_mail_frame", False
        ):
            return response
        return super().process_response(request, response)


class TraceMiddleware(Middleware):
    """Gives each request an id that its log lines and ledger entries carry."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with traced(uuid.uuid4().hex[:16]):
            return self.get_response(request)


class WordsMiddleware(Middleware):
    """Answers GET with an error page instead of an empty 405."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code != 405 or request.method != "GET":
            return response
        page = errors.only_pressed(request)
        page.headers["Allow"] = response.headers["Allow"]
        return page


class ActorMiddleware(Middleware):
    """Sets `request.actor`, who acts, with their roles and the client's address; and
    activates the person's time zone.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:

        def actor() -> Actor:
            address = client_address(request)
            if isinstance(request.user, Person):
                return request.user.actor(surface="web", address=address)
            return Actor(
                kind="anonymous",
                id="",
                label="somebody who is not signed in",
                surface="web",
                address=address,
            )

        request.actor = SimpleLazyObject(actor)  # type: ignore[attr-defined]
        with somebodys_time(lambda: getattr(request.user, "time_zone", "UTC")):
            return self.get_response(request)


class SecurityHeadersMiddleware(Middleware):
    """Adds the security headers to every response, including errors and static
    files.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        headers = response.headers
        is_mail_frame = getattr(response, "is_mail_frame", False)
        headers["Content-Security-Policy"] = (
            _FRAME_POLICY if is_mail_frame else self._policy(request)
        )
        headers["X-Frame-Options"] = "SAMEORIGIN" if is_mail_frame else "DENY"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        if is_mail_frame:
            headers["Referrer-Policy"] = "no-referrer"
            headers["X-DNS-Prefetch-Control"] = "off"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = (
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        )
        if settings.HTTPS:
            headers["Strict-Transport-Security"] = (
                f"max-age={ONE_YEAR}; includeSubDomains"
            )
        if (
            not request.path.startswith(settings.STATIC_URL)
            or response.status_code >= 400
        ):
            headers["Cache-Control"] = "no-store"
        return response

    def _policy(self, request: HttpRequest) -> str:
        try:
            live = live_origin(request)
        except DisallowedHost:
            # The answer is an error page, which needs no live stream.
            live = ""
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
            f"connect-src 'self'{f' {live}' if live else ''}; frame-src 'self'; form-action 'self'; "
            "manifest-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; report-uri /csp-report/"
        )


log = logging.getLogger(__name__)

# The same denied request of a person is recorded once in so many seconds.
ONCE_A = 60
# How many characters of a path are recorded.
MAX_PATH = 300


class DenialsMiddleware(Middleware):
    """Records in the ledger what signed-in people were denied. It comes after all
    middleware that changes responses, so that it sees the view's own response.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        status = response.status_code
        if (
            status in (403, 404)
            and request.resolver_match
            and request.actor.kind == "person"  # type: ignore[attr-defined]
            and (status == 403 or _was_withheld(request))
        ):
            note_denied(request, status)
        return response


# Names of messages. For those, it is recorded too if there is none: otherwise the time
# that the answer takes would tell.
OF_MESSAGES = {"public_id", "upstream_id"}
# The rows that the other parts of addresses name, by the name of the part. What is gone,
# as at an old address, was withheld from nobody.
NAMED: dict[str, QuerySet[Any]] = {
    "connection_id": Connection.objects.at_work(),
    "mailbox_id": Mailbox.objects.at_work(),
    "event_id": WebhookEvent.objects.all(),
    "list_id": Allowlist.objects.at_work(),
    "switch_id": KillSwitch.objects.pulled(),
    "brake_id": Brake.objects.all(),
    "act_id": BulkAct.objects.all(),
    "change_id": PendingChange.objects.all(),
    "person_id": Person.objects.all(),
    "alert_id": Delivery.objects.all(),
    "notice_id": Notice.objects.all(),
    "session_id": UserSession.objects.all(),
    "view_id": SavedView.objects.all(),
    "search_id": SavedSearch.objects.all(),
}


def _was_withheld(request: HttpRequest) -> bool:
    """Whether the address names a message, or something else that exists and that the
    person may not see.
    """
    actor = request.actor  # type: ignore[attr-defined]
    match = request.resolver_match
    kwargs = match.kwargs if match else {}
    for name in kwargs.keys() & NAMED.keys():
        rows: Any = NAMED[name].filter(pk=kwargs[name])
        # Of what belongs to one person, the views find nothing of others.
        seen = rows.none()
        if name == "person_id":
            seen = rows & Person.objects.read_by(actor)
        elif hasattr(rows, "visible_to"):
            seen = rows.visible_to(actor)
        if rows.exists() and not seen.exists():
            return True
    return not OF_MESSAGES.isdisjoint(kwargs)


@transaction.atomic
def note_denied(request: HttpRequest, status: int) -> None:
    """Record the denied request, unless this request has recorded a refused verdict or
    act already, or the same request was recorded within the last minute.
    """
    actor = request.actor  # type: ignore[attr-defined]
    path = mask_secrets(request.path)[:MAX_PATH]
    request_hash = hashlib.sha256(f"{request.method} {path}".encode()).hexdigest()
    actions = ("verdict.refused", "act.refused")
    refused = Entry.objects.filter(trace=trace_id.get(), action__in=actions)
    is_first = cache.add(f"denied:{actor.id}:{request_hash}", True, ONCE_A)
    if refused.exists() or not is_first:
        return
    # The requested message, if there is one, so that the attempt is in its audit trail.
    message = None
    match = request.resolver_match
    public_id = match.kwargs.get("public_id") if match else None
    if isinstance(public_id, UUID):
        message = Message.objects.filter(public_id=public_id).first()
    log.warning(
        "access denied", extra={"path": path, "status": status, "person": actor.id}
    )
    record(
        "access.denied",
        actor=actor,
        connection=message.connection_id if message else None,
        message=message.public_id if message else None,
        details={"method": str(request.method), "path": path, "status": str(status)},
    )

"""Routes for `/mcp`, beside the calls of tools: what the caller's key may do, what became
of messages that are watched, and how a client gets a key.
"""

from django.conf import settings
from django.http import HttpRequest
from ninja import Router

from common.endings import EndedBy
from common.unique_keys import Json
from gateway.api.answers import review_url
from gateway.auth import ANY_KEY, BearerKey, KeyedRequest
from gateway.errors import BadRequest, Forbidden, TooLarge
from gateway.middleware import too_large
from gateway.models import Email, Scope
from gateway.states import AWAITING_DECISION, Direction, Status

# Where it stands which keys are accepted (RFC 9728).
METADATA = "/.well-known/oauth-protected-resource"
router = Router(auth=ANY_KEY)


# A request whose body was not read comes to the first path, and learns that its key is
# missing.
@router.post("/mcp", include_in_schema=False)
@router.post("/mcp/caller", include_in_schema=False)
def read_caller(request: KeyedRequest, unclear: bool = False, most: int = 0) -> Json:
    """Return what the key of a request to `/mcp` may do, or refuse the request: also one
    that is larger than the `most` bytes of its tool.
    """
    if unclear or not request.accepts("application/json"):
        raise BadRequest("Send one JSON-RPC request as JSON, and accept JSON.")
    if most:
        raise TooLarge(too_large(most))
    origin = request.headers.get("Origin")
    if origin and origin.rpartition("://")[2] != request.get_host():
        # A page that a browser shows could reach a gateway of its own machine by a name
        # of another site.
        raise Forbidden("Pages of other sites cannot use /mcp.", code="foreign_origin")
    key = request.auth
    mailboxes = key.limited(key.account.mailboxes.filter(is_active=True), "pk")
    return {
        "scopes": [scope for scope in Scope.values if key.may(scope)],
        "mailboxes": list(mailboxes.values_list("pk", flat=True)[:2]),
    }


@router.get(
    "/mcp/states", auth=BearerKey(Scope.READ, Scope.SEND), include_in_schema=False
)
def read_states(request: KeyedRequest, ids: str = "") -> Json:
    """Return what became of these sent messages, by id. Nothing is marked as read."""
    sent = Email.objects.visible_to(request.auth).filter(direction=Direction.OUTBOUND)
    # Not more at a time, because they are asked for again and again.
    named = sent.filter(pk__in=ids.split(",")[:100]).with_mailbox()
    return {"states": {email.pk: _state_of(email) for email in named}}


def _state_of(email: Email) -> Json:
    state = email.status
    # Where a person sent an edited one themselves, nothing is asked of the agent.
    is_asked = email.feedback and "replaced_by" not in email.feedback
    if state in AWAITING_DECISION:
        state = "held"
    elif email.ended_by == EndedBy.EXPIRY:
        state = "expired"
    elif state == Status.REJECTED and is_asked:
        state = "changes_requested"
    elif state == Status.SCHEDULED and email.decision:
        state = "approved"
    return {"id": email.pk, "state": state, **email.outcome(), **review_url(email)}


@router.get(METADATA, auth=None, include_in_schema=False)
def read_metadata(request: HttpRequest) -> Json:
    """Say that keys are used (RFC 9728): the operator hands them out, so no
    authorization server is named.
    """
    return {
        # The API and /mcp: clients accept what their address begins with.
        "resource": settings.GATEWAY_PUBLIC_URL,
        "resource_name": "Countersign Gateway",
        "bearer_methods_supported": ["header"],
    }

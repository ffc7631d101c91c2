"""What the answers of all routes have in common: the documented answers, an email as
JSON, and the pages of a list.

The OpenAPI document describes answers by the classes here and in the other files. If an
answer is a row with its fields as stored, its class also makes it (`Answer.of`).
Handlers build all other answers as dictionaries, which may have more keys than the
class. All are sent without validation (`api/site.py`).
"""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest, JsonResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict

from common.endings import EndedBy
from common.identifiers import CROCKFORD
from common.unique_keys import Json
from gateway.errors import Invalid
from gateway.lookups import may_read
from gateway.messages.content import additions_of, fingerprint_of, known_fingerprint
from gateway.middleware import problem
from gateway.models import ApiKey, Email
from gateway.states import AWAITING_DECISION, Decision, Direction, Status
from gateway.timestamps import epoch_milliseconds, iso

# The id of most rows: a ULID.
ID = re.compile(rf"[0-7][{CROCKFORD}]{{25}}")
# The id of a row with a number.
ROW_NUMBER = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,4000}")

Iso = Annotated[str, BeforeValidator(iso)]
# An empty value is shown as null.
OrNone = BeforeValidator(lambda value: value or None)
TextOrNone = Annotated[str | None, OrNone]
# In milliseconds since 1970.
Epoch = Annotated[int, BeforeValidator(epoch_milliseconds)]


class Answer(BaseModel):
    """Base of all documented answers."""

    model_config = ConfigDict(extra="allow", from_attributes=True)

    @classmethod
    def of(cls, row: Model) -> Json:
        """Return a row in the form of this answer."""
        return cls.model_validate(row).model_dump()


class Problem(Answer):
    """An error: `error` is a sentence for people, `code` a word for programs."""

    error: str
    code: str


# Why clients cannot sign up here.
BY_OPERATOR = "Its operator creates accounts: ./run manage gateway_account --name ... creates one with its keys."


def not_offered(request: HttpRequest, *, instead: str, **named: str) -> JsonResponse:
    """Answer 501 for a route of MultiMail that the gateway does not offer, and say what
    to use instead. `named` are the parameters of its path, which are ignored.
    """
    return problem(
        501, f"This gateway does not offer this. {instead}", "not_implemented"
    )


class Changed(Answer):
    """The id and the new status of what was changed."""

    id: str
    status: str


class Health(Answer):
    """Whether the gateway works."""

    status: str
    software: str


def is_by_mcp_server(request: HttpRequest) -> bool:
    """Whether MultiMail's MCP server sent the request: it sends a JSON content type
    even without a body.

    The language model behind it trusts the whole answer except the keys that the server
    takes out as body text.
    """
    return (
        request.headers.get("Content-Type", "").lower().startswith("application/json")
    )


class PendingApproval(Answer):
    """Not done yet: an operator has to confirm it. Repeat the same request with the
    code.
    """

    status: str
    code: str
    message: str
    id: str


# The answers of a call that changes something and may need a code.
CONFIRMABLE = {200: Changed, 202: PendingApproval}

# Shown as `spam_verdict`, by status.
_VERDICTS: dict[str, str] = {
    Status.SPAM_FLAGGED: "flagged",
    Status.SPAM_QUARANTINED: "quarantined",
}
# Replaces what the author of a message chose freely, if the key may not read the
# message: everything but the sender's address. Even a list of addresses can hold whole
# sentences.
_WITHHELD: Json = {
    "subject": "",
    "from_name": "",
    "message_id_header": None,
    "in_reply_to": None,
    "reply_to": None,
    "cc": [],
    "cc_addresses": [],
    "metadata": {},
}


def summary_of(email: Email, *, flat: bool = False) -> Json:
    """Return an email without its body, as lists show it; `flat` is for the flat
    dialect.
    """
    bcc = email.bcc if email.direction == Direction.OUTBOUND else []
    received_at = iso(email.created_at)
    send_at = iso(email.send_at)
    decided_at = iso(email.decided_at)
    reason = email.told_reason()
    is_approved = email.decision == Decision.APPROVED
    return {
        **email.ids(),
        "mailbox_id": email.mailbox_id,
        "mailbox": email.mailbox.address,
        "direction": email.direction,
        "from": email.from_address,
        "from_address": email.from_address,
        "from_name": email.from_name,
        # The flat dialect shows recipients as text.
        "to": ", ".join(email.to) if flat else email.to,
        "to_addresses": email.to,
        "recipient": email.to[0] if email.to else None,
        "cc": email.cc,
        "cc_addresses": email.cc,
        "bcc": bcc,
        "bcc_addresses": bcc,
        "reply_to": email.reply_to or None,
        "subject": email.subject,
        "status": email.status,
        "thread_id": email.thread_id,
        "message_id_header": email.message_id_header,
        "in_reply_to": email.in_reply_to or None,
        "received_at": received_at,
        "created_at": received_at,
        "timestamp": received_at,
        "has_attachments": email.has_attachments,
        "tags": email.tags,
        "tag_list": list(email.tags),
        "metadata": email.metadata,
        "sandbox": email.sandbox,
        "sent_by_key": email.sent_by_key_id,
        "send_at": send_at,
        "scheduled_at": send_at,
        "gate_timing": email.gate_timing or None,
        "oversight_mode": email.oversight_mode,
        "decision": email.decision or None,
        "decision_reason": reason["reason"],
        **reason,
        "decided_at": decided_at,
        "decided_by": email.decided_by or None,
        "ended_by": email.ended_by or None,
        # A client may read approved_at as "was approved", so these two stay empty if
        # the message was rejected.
        "approved_at": decided_at if is_approved else None,
        "approved_by": email.decided_by if is_approved else None,
        **delivery_of(email),
    }


def review_url(email: Email) -> Json:
    """Return the desk's page where a person can look at the message, if it is held."""
    if email.status not in AWAITING_DECISION:
        return {}
    return {"review_url": f"{settings.PUBLIC_URL}/approvals/{email.pk}/"}


def delivery_of(email: Email) -> Json:
    """Return the fields that say how the sending of an email went."""
    return {
        "sent_at": iso(email.sent_at),
        "delivered_at": iso(email.delivered_at),
        "bounced_at": iso(email.bounced_at),
        "bounce_type": email.bounce_type or None,
        "refused_recipients": email.refused_recipients,
        "fate_unknown": email.fate_unknown,
        "last_error": email.last_error or None,
        "spam_score": None,
        "spam_verdict": _VERDICTS.get(email.status),
        "user_label": email.user_label or None,
    }


def attachment_rows(email: Email) -> list[Json]:
    """Return the facts of an email's attachments, without their bytes."""
    return [
        {
            "name": file.name,
            "filename": file.name,
            "content_type": file.content_type,
            "size": file.size,
            "size_bytes": file.size,
            "sha256": file.sha256,
            "content_id": file.content_id or None,
        }
        for file in email.files()
    ]


def full_email(email: Email, *names: str, flat: bool = False) -> Json:
    """Return an email for a call that reads a single one, with its text under each of
    `names`.

    An MCP client puts everything but `markdown` into a block that its model trusts, so
    no other key may hold body text there; the caller chooses the names. The feedback of
    a person who rejected the message is that person's text, not its author's.
    """
    return {
        **summary_of(email, flat=flat),
        "suggested_markdown": None,
        "replaced_by": None,
        "changes": [],
        **email.feedback,
        **review_url(email),
        "attachments": attachment_rows(email),
        **dict.fromkeys(names, email.markdown),
    }


def pending_row(email: Email, *, flat: bool = False, contents: bool = True) -> Json:
    """Return a held email with everything that its fingerprint covers; without
    `contents` no bodies, which are not loaded either.
    """
    bodies = {}
    if contents:
        bodies = {
            "markdown": email.markdown,
            "body_markdown": email.markdown,
            "html_body": email.html,
        }
    return summary_of(email, flat=flat) | {
        **bodies,
        # Only how many changes simplifying made. The changes and the original have an
        # answer of their own, as both hold the author's words under names that clients
        # do not know.
        "simplified": len(email.simplified),
        "attachments": attachment_rows(email),
        "additions": additions_of(email),
        # Reviewers know a key by its name. The id beside it stays the same if the key
        # is renamed.
        "sent_by_key_name": email.sent_by_key.name if email.sent_by_key else None,
        "fingerprint": fingerprint_of(email) if contents else known_fingerprint(email),
        "expires_at": iso(email.expires_at),
        "request_id": email.trace or None,
    }


def list_row(key: ApiKey, email: Email, *, flat: bool) -> Json:
    """Return an email as a list shows it to the key: without the author's words if the
    key may not read the message.
    """
    result = summary_of(email, flat=flat)
    if may_read(key, email):
        return result
    mailbox_address = email.mailbox.address
    return (
        result
        | _WITHHELD
        | {
            "to": mailbox_address if flat else [mailbox_address],
            "to_addresses": [mailbox_address],
            "recipient": mailbox_address,
        }
    )


class Sent(Answer):
    """A message that was accepted, now or by an earlier request with the same key."""

    id: str
    email_id: str
    message_id: str
    thread_id: str
    status: str
    oversight_status: str
    oversight_mode: str
    message: str
    # The desk's page where a person can look at it; left out if it is not held.
    review_url: str = ""


class Original(Answer):
    """The HTML of a message before it was simplified."""

    html: str
    changes: list[str]


class Message(Answer):
    """One email."""

    id: str
    mailbox_id: str
    direction: str
    to_addresses: list[str]
    subject: str
    status: str
    thread_id: str
    received_at: str
    decided_by: str | None
    ended_by: EndedBy | None


class Page(Answer):
    """A page of a list; `cursor` is that of the next page."""

    cursor: str | None


class Messages(Page):
    """A page of emails."""

    emails: list[Message]


class PendingMessages(Page):
    """Held emails: the same list under three names. Rows that were asked for without
    contents have no bodies, and come with `total`, the number on all pages.
    """

    pending: list[Message]
    emails: list[Message]
    messages: list[Message]
    count: int
    contents: bool = True
    total: int | None = None


class Decided(Answer):
    """A decision that was taken."""

    id: str
    status: str
    decision: str
    action: str
    reason: str | None
    decided_at: str
    decided_by: str | None
    ended_by: EndedBy
    message: str


class Thread(Answer):
    """A conversation, oldest message first."""

    thread_id: str
    message_count: int
    participants: list[str]
    last_activity: str
    has_unanswered_inbound: bool
    truncated: bool
    # Of the page with the messages before these.
    cursor: str | None
    emails: list[Message]


class Tags(Answer):
    """All tags of a message."""

    tags: dict[str, str]


class TagWords(Answer):
    """All tags of a message, as words."""

    id: str
    tags: list[str]


class FileLink(Answer):
    """A link by which a file can be fetched without a key, for a while."""

    url: str
    filename: str
    size_bytes: int
    content_type: str
    expires_in: int


def clamp(least: int, most: int, default: int = 0) -> BeforeValidator:
    """Return the validator of a whole number, which it raises to `least` or lowers to
    `most`. An empty one is `default`.
    """

    def clamped(value: object) -> int:
        if value in ("", None):
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
            raise ValueError("must be a whole number.")
        return max(least, min(int(str(value)), most))

    return BeforeValidator(clamped)


def read_cursor(value: str, *, form: re.Pattern[str] = ID) -> str | None:
    """Return the id in a cursor, or None if it is empty. Raises Invalid if it cannot be
    an id.
    """
    if not value:
        return None
    if not form.fullmatch(value):
        raise Invalid("cursor: was not returned by this list.")
    return value


def cut(rows: QuerySet[Any], limit: int) -> tuple[Sequence[Any], str | None]:
    """Return the first `limit` rows, and the cursor of the next page, or None if there
    is none.
    """
    page = list(rows[: limit + 1])
    return page[:limit], str(page[limit - 1].pk) if len(page) > limit else None


class PageFilters(BaseModel):
    """The parameters of every list. An empty one counts as not given."""

    limit: Annotated[int, clamp(1, 100, 50)] = 50
    cursor: str = ""


class LongPageFilters(PageFilters):
    """The same for lists that some clients read without paging."""

    limit: Annotated[int, clamp(1, 1000, 1000)] = 1000


def page_of(
    rows: QuerySet[Any],
    name: str,
    shape: Callable[[Any], Json],
    filters: PageFilters,
    *,
    numbered: bool = False,
    oldest_first: bool = False,
) -> Json:
    """Return one page of `rows`, newest first if not said: under `name` each row in the
    given shape, and the cursor of the next page.

    The ids of `numbered` rows are integers.
    """
    rows = rows.order_by("pk" if oldest_first else "-pk")
    if last := read_cursor(filters.cursor, form=ROW_NUMBER if numbered else ID):
        rows = rows.filter(**{"pk__gt" if oldest_first else "pk__lt": last})
    page, following = cut(rows, filters.limit)
    return {name: [shape(row) for row in page], "cursor": following}

"""What every documented answer has in common.

Answers are documented by classes, for the OpenAPI document. Where one is a row as it is
stored, its class makes it; elsewhere handlers build plain objects, which may have more
keys. They are sent as they are (`api.site`).
"""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest, JsonResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict

from common.identifiers import CROCKFORD
from gateway.errors import Invalid
from gateway.lookups import may_read
from gateway.messages.content import additions_of, fingerprint_of
from gateway.models import ApiKey, Email
from gateway.states import Decision, Direction, Status
from gateway.timestamps import iso

ID = re.compile(rf"[0-7][{CROCKFORD}]{{25}}")
_COUNT = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,40}")

# An object as clients read it.
Json = dict[str, Any]
Iso = Annotated[str, BeforeValidator(iso)]
# What is empty is shown as null.
OrNone = BeforeValidator(lambda value: value or None)


class Answer(BaseModel):
    """Base of all documented answers."""

    model_config = ConfigDict(extra="allow", from_attributes=True)

    @classmethod
    def of(cls, row: Model) -> Json:
        """Return a row as this answer shows it."""
        return cls.model_validate(row).model_dump()


class Problem(Answer):
    """Every error of every route."""

    error: str
    code: str


# Why clients cannot sign up here.
BY_OPERATOR = "Its operator creates accounts: ./run manage gateway_account --name ... creates one with its keys."


def not_offered(request: HttpRequest, *, instead: str, **named: str) -> JsonResponse:
    """Answer for a route that is left out: what to use instead. What its path names is
    ignored.
    """
    return JsonResponse(
        {
            "error": f"This gateway does not offer this. {instead}",
            "code": "not_implemented",
        },
        status=501,
    )


class Changed(Answer):
    """Something changed its status."""

    id: str
    status: str


class Health(Answer):
    """Whether the gateway works."""

    status: str
    software: str


def is_by_mcp_server(request: HttpRequest) -> bool:
    """Whether MultiMail's MCP server asks: it names a JSON type even without a body.

    Its model trusts the whole answer except for the keys that the server takes out as
    body text.
    """
    return (
        request.headers.get("Content-Type", "").lower().startswith("application/json")
    )


class PendingApproval(Answer):
    """Not done yet: an operator has to confirm it, and the same request is repeated
    with the code.
    """

    status: str
    code: str
    message: str
    id: str


_VERDICTS: dict[str, str] = {
    Status.SPAM_FLAGGED: "flagged",
    Status.SPAM_QUARANTINED: "quarantined",
}
# Every text in a row that whoever wrote the message chose freely, but for the one
# address that it is from: lists of addresses can hold whole sentences, too.
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
    """Return an email without its body, for lists."""
    bcc = email.bcc if email.direction == Direction.OUTBOUND else []
    received_at = iso(email.created_at)
    send_at = iso(email.send_at)
    decided_at = iso(email.decided_at)
    told = email.told_reason()
    approved = email.decision == Decision.APPROVED
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
        "decision_reason": told["reason"],
        **told,
        "decided_at": decided_at,
        "decided_by": email.decided_by or None,
        # A client may take approved_at for "was approved", so these two stay empty on a
        # rejected message.
        "approved_at": decided_at if approved else None,
        "approved_by": email.decided_by if approved else None,
        **delivery_of(email),
    }


def delivery_of(email: Email) -> Json:
    """Return how the sending of an email went."""
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
    """Return what there is to know of the files, without their bytes."""
    if not email.has_attachments:
        return []
    return [
        {
            "name": file.name,
            "filename": file.name,
            "content_type": file.content_type,
            "size": file.size,
            "size_bytes": file.size,
            "sha256": file.sha256,
        }
        for file in email.attachments.all()
    ]


def full_email(email: Email, *names: str, flat: bool = False) -> Json:
    """Return a single read, with the text under each of these names.

    An MCP client puts everything but `markdown` into a block it trusts, so no other key
    may hold body text there; the caller says which do. What a person who rejected the
    message gave its agent as data is that person's words.
    """
    return {
        **summary_of(email, flat=flat),
        "suggested_markdown": None,
        "replaced_by": None,
        "changes": [],
        **email.feedback,
        "attachments": attachment_rows(email),
        **dict.fromkeys(names, email.markdown),
    }


def pending_row(email: Email, *, flat: bool = False) -> Json:
    """Return a held email with everything that its fingerprint covers."""
    return summary_of(email, flat=flat) | {
        "markdown": email.markdown,
        "body_markdown": email.markdown,
        "html_body": email.html,
        # How many changes; what they are and the original stand in an answer of their
        # own, as both hold the author's words under names that clients do not know.
        "simplified": len(email.simplified),
        "attachments": attachment_rows(email),
        "additions": additions_of(email),
        # A person who decides knows a key by its name; the id beside it stays when that
        # changes.
        "sent_by_key_name": email.sent_by_key.name if email.sent_by_key else None,
        "fingerprint": fingerprint_of(email),
        "expires_at": iso(email.expires_at),
    }


def list_row(key: ApiKey, email: Email, *, flat: bool = False) -> Json:
    """Return the message as a list shows it to the key."""
    result = summary_of(email, flat=flat)
    if may_read(key, email):
        return result
    own = email.mailbox.address
    return (
        result
        | _WITHHELD
        | {"to": own if flat else [own], "to_addresses": [own], "recipient": own}
    )


class Sent(Answer):
    """A message was accepted, or had been before."""

    id: str
    email_id: str
    message_id: str
    thread_id: str
    status: str
    oversight_status: str
    oversight_mode: str
    message: str


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


class Messages(Answer):
    """A page of emails."""

    emails: list[Message]
    cursor: str | None


class PendingMessages(Answer):
    """Held emails: the same list under three names."""

    pending: list[Message]
    emails: list[Message]
    messages: list[Message]
    count: int
    cursor: str | None


class Decided(Answer):
    """A decision was taken."""

    id: str
    status: str
    decision: str
    action: str
    reason: str | None
    decided_at: str
    decided_by: str
    message: str


class Thread(Answer):
    """A conversation, oldest message first."""

    thread_id: str
    message_count: int
    participants: list[str]
    last_activity: str
    has_unanswered_inbound: bool
    truncated: bool
    emails: list[Message]


class Tags(Answer):
    """All tags of a message."""

    tags: dict[str, str]


class TagWords(Answer):
    """All tags of a message, as words."""

    id: str
    tags: list[str]


class FileLink(Answer):
    """Where a file can be fetched without a key, for a while."""

    url: str
    filename: str
    size_bytes: int
    content_type: str
    expires_in: int


def clamp(
    value: str | None, *, default: int, most: int, least: int = 1, name: str = "limit"
) -> int:
    """Return a number between `least` and `most`. Raises Invalid for what is none."""
    if not value:
        return default
    if not _NUMBER.fullmatch(value):
        raise Invalid(f"{name}: must be a whole number.")
    return max(least, min(int(value), most))


def read_cursor(value: str | None, *, form: re.Pattern[str] = ID) -> str | None:
    """Return the id in a cursor. Raises Invalid for what cannot be one."""
    if not value:
        return None
    if not form.fullmatch(value):
        raise Invalid("cursor: was not returned by this list.")
    return value


def cut(rows: QuerySet[Any], limit: int | None) -> tuple[Sequence[Any], str | None]:
    """Return the page of at most `limit` rows, all of them for None, and the cursor of
    the next page.
    """
    if limit is None:
        return list(rows), None
    page = list(rows[: limit + 1])
    return page[:limit], str(page[limit - 1].pk) if len(page) > limit else None


class PageFilters(BaseModel):
    """The parameters of every list. Text, because an empty value means none, and a
    large number is clamped.
    """

    limit: str = ""
    cursor: str = ""


def page_of(
    rows: QuerySet[Any],
    name: str,
    shape: Callable[[Any], Json],
    filters: PageFilters,
    *,
    default: int,
    most: int,
    numbered: bool = False,
) -> Json:
    """Return one page of `rows`, newest first, in the given shape under `name`, and the
    cursor of the next.

    Ids of `numbered` rows are integers.
    """
    if before := read_cursor(filters.cursor, form=_COUNT if numbered else ID):
        rows = rows.filter(pk__lt=before)
    page, following = cut(rows, clamp(filters.limit, default=default, most=most))
    return {name: [shape(row) for row in page], "cursor": following}

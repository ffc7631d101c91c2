"""Routes for reviewers: the held messages, the decision about one, and the one-time
codes that loosen a mailbox's oversight mode.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Annotated, Self

from annotated_types import Len, MaxLen
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router
from pydantic import ConfigDict, Field, model_validator

from common.ascii import lowered, trimmed
from common.endings import EndedBy
from common.unique_keys import Json
from gateway import mailboxes
from gateway.api.answers import (
    Answer,
    Changed,
    Decided,
    Iso,
    LongPageFilters,
    Page,
    PageFilters,
    PendingMessages,
    clamp,
    delivery_of,
    is_by_mcp_server,
    page_of,
    pending_row,
    read_cursor,
)
from gateway.api.bodies import (
    Body,
    Id,
    Line,
    MailboxName,
    ModeWord,
    Moment,
    MustNameEmail,
    NamesEmail,
    Sha256,
    ShortLine,
    example,
)
from gateway.api.dialects import is_flat
from gateway.api.mailboxes import MailboxAnswer
from gateway.auth import ADMIN, OVERSIGHT, SEES_HELD, BearerKey, KeyedRequest
from gateway.errors import Invalid
from gateway.lookups import check_may_read, email_named, mailbox_named
from gateway.messages import decisions
from gateway.models import Email, Scope, UpgradeRequest
from gateway.states import AWAITING_DECISION, Decision, Direction
from gateway.timestamps import iso

# What a word in a request decides.
_ACTIONS = {
    "approve": "approved",
    "approved": "approved",
    "reject": "rejected",
    "rejected": "rejected",
}
# Characters. A suggestion is part of a webhook event, of which receivers may read no
# more than 256 KiB.
MAX_SUGGESTION = 20_000
# Characters: enough for fifty recipients.
MAX_FIELD = 13_000
# Bytes of a page of held messages, unless a single one is longer.
MAX_PAGE = 16 * 1024 * 1024
# Characters of a list that are copied at a time.
PIECE = 256 * 1024
_ASKED = (
    "An operator has the code and decides whether to give it to you. It works once, within 24 hours: send it with "
    "upgrade."
)


class FieldChange(Body):
    """One field as the message had it, and as a person edited it; recipients are one
    line with commas.
    """

    model_config = ConfigDict(extra="forbid")

    field: Annotated[Line, MaxLen(40)]
    before: Annotated[str, MaxLen(MAX_FIELD)]
    after: Annotated[str, MaxLen(MAX_FIELD)]


class Verdict(NamesEmail):
    """A decision about a message that the path names. A field that is not listed here
    is refused.
    """

    model_config = ConfigDict(extra="forbid", **example({"decision": "approve"}))

    action: str = ""
    decision: str = ""
    reason: Annotated[str, MaxLen(2000)] | None = None
    # The person behind the key, as the client names them; the audit log has the key
    # too.
    decided_by: ShortLine | None = None
    # Whose act it is; after `expiry` nobody's.
    ended_by: EndedBy | None = None
    expected_fingerprint: Sha256 | None = None
    # When the person decided, if that was earlier, and until when the message may leave.
    pressed_at: Moment | None = None
    leave_by: Moment | None = None
    # Given to the agent as data, beside the reason of a rejection.
    suggested_markdown: Annotated[str, MaxLen(MAX_SUGGESTION)] | None = None
    replaced_by: ShortLine | None = None
    changes: Annotated[list[FieldChange], MaxLen(10)] | None = None

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        words = {
            _ACTIONS.get(lowered(trimmed(word)), "")
            for word in (self.action, self.decision)
            if word
        }
        if len(words) != 1 or words == {""}:
            raise ValueError("action: must be approve or reject.")
        if words == {"approved"} and self.feedback():
            raise ValueError("suggested_markdown: only allowed with a rejection.")
        if words == {"approved"} and self.ended_by in (EndedBy.RULE, EndedBy.EXPIRY):
            raise ValueError("ended_by: no rule or expiry approves.")
        return self

    @model_validator(mode="after")
    def _names_one_email(self) -> Self:
        if len({self.email_id, self.message_id, self.id} - {""}) > 1:
            raise ValueError(
                "email_id: email_id, message_id and id name different messages. Nothing was decided."
            )
        return self

    def feedback(self) -> Json:
        """Return the data for the agent; fields that were not given are left out."""
        return self.model_dump(
            include={"suggested_markdown", "replaced_by", "changes"}, exclude_none=True
        )

    def outcome(self) -> str:
        """Return `approved` or `rejected`."""
        return _ACTIONS[lowered(trimmed(self.action or self.decision))]


class DecideIn(MustNameEmail, Verdict):
    """A decision about a held message, in any dialect. A field that is not listed here
    is refused.
    """

    model_config = ConfigDict(
        extra="forbid",
        **example({"email_id": "01JD0000000000000000000000", "action": "approve"}),
    )


class ExpiryIn(MustNameEmail):
    """Until when a held message may be approved; null: for ever."""

    model_config = example(
        {"email_id": "01JD0000000000000000000000", "expires_at": "2030-01-01T00:00:00Z"}
    )

    expires_at: Moment | None


class StopIn(Body):
    """The mailboxes whose approved mail waits; that of all others leaves."""

    model_config = example({"mailboxes": ["01JD0000000000000000000000"]})

    mailboxes: Annotated[list[Id], MaxLen(10_000)]


class UpgradeWish(Body):
    """The oversight mode that is wanted."""

    model_config = example({"target_mode": "monitored"})

    target_mode: ModeWord


class UpgradeCode(Body):
    """The code that an operator gave out."""

    model_config = example({"code": "A7X-29K"})

    code: Annotated[str, Len(1, 40)]


class UpgradeAnswer(Answer):
    """A request for a looser mode, without its code."""

    id: str
    mailbox_id: str
    target_mode: str
    created_at: Iso
    expires_at: Iso


class UpgradeRequests(Page):
    """Requests that wait for a code, with their codes."""

    requests: list[Json]


class PendingFilters(PageFilters):
    """The parameters of the pending list."""

    email_id: Id = ""
    mailbox: MailboxName = ""
    only: Annotated[
        str,
        Field(
            max_length=20, description="`pending`: give the list under this name alone"
        ),
    ] = ""

    contents: bool = Field(
        True, description="`false`: rows without bodies, 100 a page if not said"
    )

    # 0: all rows, or 100 of a page.
    limit: Annotated[int, clamp(1, 500)] = 0


router = Router(tags=["oversight"])
_MAY_UPGRADE = BearerKey(Scope.SEND, Scope.ADMIN)


def _with_body_once(email: Email) -> Json:
    # The MCP server takes bodies out of the rows, but it is not public which names it
    # knows.
    result = pending_row(email)
    del result["markdown"], result["html_body"]
    if email.html:
        result["body_markdown"] += f"\n\nHTML part:\n\n{email.html}"
    return result


@router.get("/oversight/pending", auth=SEES_HELD, response=PendingMessages)
def list_pending(
    request: KeyedRequest, filters: Query[PendingFilters]
) -> HttpResponseBase:
    """List held messages, oldest first, with all that a decision needs; with `email_id`
    only that one.

    Without `limit`, `cursor` and `contents=false` the list is whole, however long. A
    page has at most about 16 MB, but at least one row.

    If the request has a JSON content type, as the MCP server's has, each row has its
    body only once, as `body_markdown`, and the rows are only under `pending`.
    """
    key = request.auth
    contents = filters.contents
    shape: Callable[[Email], Json] = partial(
        pending_row, flat=is_flat(request), contents=contents
    )
    if is_by_mcp_server(request) and not is_flat(request):
        filters.only = "pending"
        if contents:
            shape = _with_body_once
    rows: Iterable[Json] = ()
    facts: Json = {}
    limit = 1
    if filters.email_id:
        found = email_named(key, filters.email_id)
        if found.status in AWAITING_DECISION:
            check_may_read(key, found)
            rows = [shape(found)]
        else:
            # Decided, closed or not yet held: nothing to decide, but its outcome is
            # shown.
            facts = found.outcome() | delivery_of(found)
    else:
        emails = Email.objects.visible_to(key).readable_by(key).awaiting_decision()
        if filters.mailbox:
            emails = emails.filter(mailbox=mailbox_named(key, filters.mailbox))
        cursor = read_cursor(filters.cursor)
        limit = filters.limit or (0 if contents and not cursor else 100)
        if not contents:
            facts = {"contents": False, "total": emails.count()}
            emails = emails.without_bodies()
        if cursor:
            emails = emails.filter(id__gt=cursor)
        rows = map(shape, emails.in_batches())
    names = (
        ("pending",) if filters.only == "pending" else ("pending", "emails", "messages")
    )
    answer = HttpResponse if limit else StreamingHttpResponse
    return answer(_written(rows, limit, names, facts), content_type="application/json")


def _written(
    rows: Iterable[Json], limit: int, names: Sequence[str], facts: Json
) -> Iterator[str]:
    """Write an answer with rows under each of `names`, piece by piece: all if `limit`
    is 0, otherwise so many that the page is not too long, but at least one.

    Each row is made once, when its turn comes, so that the lists are equal although
    messages are decided meanwhile.
    """
    count = size = 0
    cursor = last = None
    with SpooledTemporaryFile(PIECE, "w+") as copy:
        yield f'{{"{names[0]}": ['
        for row in rows:
            text = json.dumps(row)
            size += len(text) * len(names)
            if limit and count and (count == limit or size > MAX_PAGE):
                cursor = last
                break
            text = ", " * bool(count) + text
            copy.write(text)
            yield text
            count += 1
            last = row["id"]
        for name in names[1:]:
            yield f'], "{name}": ['
            copy.seek(0)
            yield from iter(partial(copy.read, PIECE), "")
    yield "], " + json.dumps({"count": count, "cursor": cursor, **facts})[1:]


@router.post("/oversight/decide", auth=OVERSIGHT, response=Decided)
def decide_email(request: KeyedRequest, body: DecideIn) -> Json:
    """Approve or reject a held message. The first decision wins; a later one gets 409
    with what became of the message.

    A mailbox or account can require `expected_fingerprint`; a field that is not known
    is refused, not ignored.
    """
    return decide(request, body.names_email(), body)


@router.post("/oversight/expiry", auth=OVERSIGHT, response=Changed)
def set_expiry(request: KeyedRequest, body: ExpiryIn) -> Json:
    """Set until when a held message may be approved. A later approval gets 409 with the
    code `approval_expired`.
    """
    email = decisions.set_expiry(request.auth, body.names_email(), body.expires_at)
    return {**email.ids(), "status": email.status, "expires_at": iso(email.expires_at)}


@router.put("/oversight/stopped", auth=OVERSIGHT, response=StopIn)
def stop(request: KeyedRequest, body: StopIn) -> StopIn:
    """Stop these mailboxes, and no others that the key may use: what is approved there
    waits until it is released by a later call without them.
    """
    mailboxes.stop_mailboxes(request.auth, body.mailboxes)
    return body


def decide(request: KeyedRequest, email_id: str, body: Verdict) -> Json:
    """Approve or reject the held message of this id."""
    # Refused, not ignored: the client may mean another message or another decision.
    if body.names_email() not in ("", email_id):
        raise Invalid("email_id: the path names another message. Nothing was decided.")
    if name := next(iter(request.GET), ""):
        sentence = f"{name[:80]}: a decision takes no parameters in its address, only a body. Nothing was decided."
        raise Invalid(sentence, field=name[:80], code="unknown_field")
    email = decisions.decide_email(
        request.auth,
        email_id,
        outcome=body.outcome(),
        reason=(body.reason or "").strip(),
        decided_by=(body.decided_by or "").strip(),
        ended_by=body.ended_by or EndedBy.ELSEWHERE,
        expected_fingerprint=body.expected_fingerprint or "",
        feedback=body.feedback(),
        pressed_at=body.pressed_at,
        leave_by=body.leave_by,
    )
    waits_for_time = (
        email.send_at and email.decided_at and email.send_at > email.decided_at
    )
    leaves_now = (
        email.decision == Decision.APPROVED
        and email.direction == Direction.OUTBOUND
        and not waits_for_time
    )
    result = {
        **email.ids(),
        "status": "approved_and_sent"
        if leaves_now and not is_flat(request)
        else email.decision,
        "decision": email.decision,
        "action": "approve" if email.decision == Decision.APPROVED else "reject",
        **email.told_reason(),
        "decided_at": iso(email.decided_at),
        "decided_by": email.decided_by or None,
        "ended_by": email.ended_by,
        "message": f"The message is {email.decision}.",
    }
    if leaves_now:
        result["postmark_message_id"] = email.message_id_header
    return result


@router.post(
    "/mailboxes/{mailbox}/request-upgrade", auth=_MAY_UPGRADE, response=UpgradeAnswer
)
def request_upgrade(request: KeyedRequest, mailbox: str, body: UpgradeWish) -> Json:
    """Ask for a looser oversight mode, at most three times an hour. The code goes to an
    operator.
    """
    upgrade_request = mailboxes.request_upgrade(
        request.auth, mailbox_named(request.auth, mailbox), body.target_mode
    )
    return UpgradeAnswer.of(upgrade_request) | {
        "status": "upgrade_requested",
        "message": _ASKED,
    }


@router.post("/mailboxes/{mailbox}/upgrade", auth=_MAY_UPGRADE, response=MailboxAnswer)
def upgrade(request: KeyedRequest, mailbox: str, body: UpgradeCode) -> Json:
    """Loosen the oversight mode with the code that an operator gave. Dashes and case do
    not matter.
    """
    changed = mailboxes.upgrade(
        request.auth, mailbox_named(request.auth, mailbox), body.code
    )
    return MailboxAnswer.of(changed) | {"status": "upgraded"}


@router.get("/upgrade-requests", auth=ADMIN, response=UpgradeRequests)
def list_upgrade_requests(
    request: KeyedRequest, filters: Query[LongPageFilters]
) -> Json:
    """List the requests that wait for a code, newest first: who asked, and the code for
    a person to pass on.

    A key that also sends, or a sandbox key, gets null for the code: it would loosen
    oversight of its own mail.
    """
    key = request.auth
    rows = (
        UpgradeRequest.objects.visible_to(key)
        .waiting()
        .select_related("requested_by_key")
    )
    shows_codes = not key.has_conflict_of_interest()
    return page_of(
        rows,
        "requests",
        lambda row: (
            UpgradeAnswer.of(row)
            | {
                "requested_by": row.requested_by_key_id,
                "requested_by_name": row.requested_by_key.name,
                "code": row.code if shows_codes else None,
            }
        ),
        filters,
    )

"""The preview of a bulk act: which messages match, and of these, which the person may
decide.

The browser posts the list of what was previewed back, signed, so that nothing else is
decided: neither what came since, nor a newer version.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from uuid import UUID

from django.core import signing
from django.db.models import QuerySet

from approvals.bulk.sheet import LASTS
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.errors import InvalidInput
from common.actors import Actor, Role
from common.identifiers import uuid7
from mirror.models import Message

# The most messages that one act takes; the oldest ones, if more match.
MOST = 20_000
EXAMPLES = 10
SENDERS = 5
_SALT = "approvals.bulk.matching"


@dataclass(frozen=True)
class Matching:
    """The messages that were previewed, by their keys in ascending order; the key of
    the newest version that there was then; and their mailboxes. `words` say as a phrase
    what the messages have in common.
    """

    words: str
    messages: Sequence[int]
    newest_version: int
    mailboxes: Sequence[int | None]
    id: UUID = field(default_factory=uuid7)


def sign_matching(matching: Matching, person: str) -> str:
    """Return it as signed text, which only this person can post back."""
    # Keys differ from their neighbours by little, and small numbers are short.
    steps = [after - before for before, after in pairwise([0, *matching.messages])]
    fields = [
        matching.id.hex,
        matching.words,
        steps,
        matching.newest_version,
        matching.mailboxes,
    ]
    return signing.dumps(fields, salt=_SALT + person, compress=True)


def read_matching(signed: str, person: str) -> Matching:
    """Return what was signed. Raises InvalidInput if it is another person's, too old,
    or not signed by this desk.
    """
    try:
        act_id, words, steps, newest_version, mailboxes = signing.loads(
            signed, salt=_SALT + person, max_age=LASTS
        )
    except signing.BadSignature:
        raise InvalidInput(
            "This preview is too old to decide from, so nothing was decided. Look at it again."
        ) from None
    return Matching(
        words, list(accumulate(steps)), newest_version, mailboxes, UUID(act_id)
    )


def decidable(messages: DeskMessageQuerySet, actor: Actor) -> DeskMessageQuerySet:
    """Return those that the actor can reject: they wait, their content is here, and the
    actor is a reviewer of their mailbox.
    """
    fetched = messages.filter(hydrated_at__isnull=False, revision__isnull=False)
    return fetched.visible_to(actor.acting_as(Role.REVIEWER)).awaiting_review()


@dataclass(frozen=True)
class Preview:
    """What the page shows before the press: the messages that would be decided, how
    many of those that match are `left_out`, how many are `outbound` (for others no
    changes can be requested), who sent how many, and examples from oldest to newest.
    """

    matching: Matching
    left_out: int
    outbound: int
    senders: Sequence[tuple[str, int]]
    examples: QuerySet[Message]


def preview_of(messages: DeskMessageQuerySet, *, words: str, actor: Actor) -> Preview:
    """Return the preview of an act on these messages."""
    columns = ("pk", "revision", "direction", "mailbox", "sent_by_key_name", "sender")
    ordered = decidable(messages, actor).order_by("held_at", "pk")
    rows = list(ordered.values_list(*columns, named=True)[:MOST])
    # Spread evenly, since the oldest alone may all be of one kind.
    last = len(rows) - 1
    spread = {round(at * last / (EXAMPLES - 1)) for at in range(EXAMPLES)}
    examples = [rows[at].pk for at in spread] if rows else []
    return Preview(
        Matching(
            words=words,
            messages=sorted(row.pk for row in rows),
            newest_version=max((row.revision for row in rows), default=0),
            mailboxes=list({row.mailbox for row in rows}),
        ),
        left_out=messages.order_by().count() - len(rows),
        outbound=sum(row.direction == "outbound" for row in rows),
        senders=Counter(row.sent_by_key_name or row.sender for row in rows).most_common(
            SENDERS
        ),
        examples=desk_messages().filter(pk__in=examples).for_rows().oldest_first(),
    )

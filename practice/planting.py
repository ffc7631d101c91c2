"""Plants practice messages: for every so many messages that are held, one copy of a
recently approved message, with one fault.

The copy exists only in this desk's tables. All its rows are stored in one transaction
that locks the setting: a worker that dies leaves no half of one, and two workers do not
plant two.
"""

import json
import logging
import random
import re
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from approvals import examination
from approvals.models import Decision
from audit.recording import record
from common.actors import webhook
from common.fingerprint import Content
from common.identifiers import CROCKFORD, crockford, ulid
from common.logs import traced
from common.postgres import clock
from mirror import store
from mirror.models import Mailbox, Message
from mirror.recording import details_of as details_of_message
from mirror.recording import record_about
from mirror.states import MessageState, Outcome
from mirror.sync.health import ACTOR as READER
from policy.models import Allowlist, KillSwitch
from practice.ending import ACTOR, details_of
from practice.faults import Planted, plant
from practice.models import PracticeMessage, PracticeSetting

log = logging.getLogger(__name__)

# How long a practice message waits for a decision.
LASTS = timedelta(days=1)
# How long ago the copied message may have changed last.
COPIED_FROM = timedelta(days=30)
# How many of the newest messages one is chosen from, at random.
_AMONG = 50
# How many held messages one run counts at most.
_COUNTED_AT_ONCE = 2000
# The states of a message that was sent, or is being sent.
_LEFT = (MessageState.APPROVED, MessageState.SENT, MessageState.DELIVERED)
_ULID = re.compile(rf"[0-7][{CROCKFORD}]{{25}}")
# Keys of a trigger that lead to another message or to somebody's command: the copy does
# not get them.
_LEADS_ELSEWHERE = ("discord_interaction_id", "countersign_edit")
# Keys with the id of a run, which is shared by messages: the copy gets an id of its
# own.
_RUNS = ("run_id", "runId")


@transaction.atomic
def plant_due(keys: Iterable[int], *, rng: random.Random | None = None) -> int:
    """Count the messages that were held since the last run, and plant a practice
    message if one is due; return how many were planted, 0 or 1.

    In each round of `one_in` held messages, one practice message is due, after a number
    of them that was drawn when the round began. It is planted in the mailbox of the
    message with this number.
    """
    rng = rng or random.SystemRandom()
    settings = PracticeSetting.objects.select_for_update(of=("self",), skip_locked=True)
    setting = settings.filter(pk__in=keys).first()
    if setting is None:
        return 0
    new_messages = Message.objects.real().filter(
        pk__gt=setting.counted_to,
        direction="outbound",
        hydrated_at__isnull=False,
        held_at__gte=setting.since,
        mailbox__isnull=False,
        review__is_apart=False,
    )
    to_count = new_messages.order_by("pk").values_list("pk", "mailbox_id")
    mailbox_id = None
    for key, counted_mailbox in to_count[:_COUNTED_AT_ONCE]:
        setting.counted_to = key
        setting.counted += 1
        if setting.counted == setting.place:
            mailbox_id = counted_mailbox
        if setting.counted >= setting.one_in:
            begin_round(setting, rng)
    setting.save(update_fields=["counted_to", "counted", "place"])
    if mailbox_id is None:
        return 0
    mailbox = Mailbox.objects.select_related("connection").get(pk=mailbox_id)
    connection = mailbox.connection
    if not mailbox.is_active or connection.removed_at or connection.paused_at:
        return 0
    stops = KillSwitch.objects.stopping(connection=connection.pk, mailbox=mailbox.pk)
    waiting = PracticeMessage.objects.waiting().filter(message__mailbox=mailbox)
    if stops.exists() or waiting.exists():
        return 0
    return int(plant_in(mailbox, rng=rng, signed_by=setting.signatories) is not None)


def begin_round(setting: PracticeSetting, rng: random.Random) -> None:
    """Begin to count again, and draw the number after which the next one is planted."""
    setting.counted = 0
    setting.place = rng.randint(1, setting.one_in)


def plant_in(
    mailbox: Mailbox, *, rng: random.Random, signed_by: str
) -> PracticeMessage | None:
    """Plant a practice message in a mailbox, in the caller's transaction, and return
    it; None if no message can be copied with a fault.

    `signed_by` names the two admins who switched practice messages on.
    """
    approvals = Decision.objects.applied_as(Outcome.APPROVE).filter(
        message=OuterRef("pk"), given_by__isnull=False
    )
    copies = PracticeMessage.objects.filter(copied_from=OuterRef("pk"))
    # Messages of this mailbox that a person approved lately, without files, and not
    # copied yet. Edited messages and tests are not usual mail.
    candidates = Message.objects.real().filter(
        Exists(approvals),
        ~Exists(copies),
        mailbox=mailbox,
        state__in=_LEFT,
        direction="outbound",
        sandbox=False,
        changed_at__gt=clock() - COPIED_FROM,
        has_attachments=False,
        revision__isnull=False,
    )
    candidates = candidates.exclude(trigger__has_key="countersign_edit")
    newest = candidates.select_related("revision", "connection").order_by(
        "-changed_at", "-pk"
    )
    sources = list(newest[:_AMONG])
    rng.shuffle(sources)
    lists = Allowlist.objects.in_force(
        kind=Allowlist.Kind.RESTRICTION, connections=[mailbox.connection_id]
    )
    # If an allowlist is in force, the desk itself refuses a wrong recipient, or an
    # admin might add it to the list.
    without = frozenset({"recipient"} if lists.exists() else ())
    for source in sources:
        assert source.revision is not None, "only messages with a content are copied"
        with_fault = plant(store.stored_content(source.revision), rng, without=without)
        if with_fault is not None:
            with traced(uuid.uuid4().hex[:16]):
                return _store(mailbox, source, with_fault, rng, signed_by)
    log.info("no message to copy for a practice message", extra={"mailbox": mailbox.pk})
    return None


def _store(
    mailbox: Mailbox,
    source: Message,
    with_fault: Planted,
    rng: random.Random,
    signed_by: str,
) -> PracticeMessage:
    """Insert the copy as a message from MultiMail is inserted, with the same entries in
    the ledger, so that nothing gives it away; then the row that says it is a practice
    message.
    """
    connection = mailbox.connection
    now = clock()
    row = _row(mailbox, source, with_fault.content, rng, now)
    message: Message = Message.objects.create(
        connection=connection,
        mailbox=mailbox,
        upstream_id=row["id"],
        is_local=True,
        state=MessageState.HELD,
        direction="outbound",
        upstream_status=row["status"],
        sender=source.sender,
        recipients=list(with_fault.content.to),
        subject=with_fault.content.subject,
        trigger=row["metadata"],
        held_at=now,
        changed_at=now,
        # Marked as counted: it is no hit of an allowlist.
        hits_counted_at=now,
    )
    held = details_of_message(
        message, key=source.sent_by_key_name or source.sent_by_key
    )
    actor = webhook(connection.slug)
    record_about("message.held", message, actor=actor, about=message, details=held)
    store.store_revision(message, row=row, actor=READER, now=now, examiner=examination)
    planted = PracticeMessage.objects.create(
        message=message,
        copied_from=source,
        fault=with_fault.fault,
        signed_by=signed_by[:400],
        explanation=with_fault.explanation,
        ends_at=min(filter(None, (now + LASTS, message.expires_at))),
    )
    details = {**details_of(planted), "copied_from": str(source.public_id)}
    record("practice.planted", actor=ACTOR, connection=connection.pk, details=details)
    return planted


def _row(
    mailbox: Mailbox,
    source: Message,
    content: Content,
    rng: random.Random,
    now: datetime,
) -> dict[str, Any]:
    """Return the copy in the form in which MultiMail lists a message, with the fields
    that the copied message had.
    """
    # Through JSON, because MultiMail's rows have lists where Content has tuples.
    fields = json.loads(json.dumps(asdict(content))) | {
        "from": content.sender,
        "from_name": content.sender_name,
        # No thread and no time of sending: both would lead to the real message.
        "in_reply_to": None,
        "send_at": None,
    }
    row = {name: fields[name] for name in content.coverage}
    if "html" in row:
        row["html_body"] = row.pop("html")
    trigger = {**source.trigger}
    for name in _LEADS_ELSEWHERE:
        trigger.pop(name, None)
    for name in _RUNS:
        if trigger.get(name):
            trigger[name] = upstream_id_like(str(trigger[name]), rng)
    return row | {
        "id": upstream_id_like(source.upstream_id, rng),
        "mailbox_id": mailbox.upstream_id,
        "status": "pending_send_approval",
        "direction": "outbound",
        "received_at": now.isoformat(),
        "sent_by_key": source.sent_by_key,
        "sent_by_key_name": source.sent_by_key_name,
        "metadata": trigger,
    }


def upstream_id_like(known: str, rng: random.Random) -> str:
    """Return a new id that looks like `known`, and that MultiMail never gives to a
    message.

    In the ids of our gateway, 20 bits hold a number of nanoseconds below a million
    (`common.identifiers.ulid`). Here the number is above a million, so the gateway can
    never make the same id. For any other id, the answer is a random UUID.
    """
    if _ULID.fullmatch(known):
        beyond = rng.randint(1_000_000, 2**20 - 1)
        return ulid()[:10] + crockford((beyond << 60) | rng.getrandbits(60), 16)
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))

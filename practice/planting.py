"""Plants practice messages: a copy of a recently approved message with one fault, one
among so many held ones.

A planted message is rows of this desk alone. All of one is stored in one transaction,
under the lock of its setting, so that a worker that dies leaves nothing and two workers
plant one.
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

# How long one waits for a decision, how old the copied message may be, among how many
# one is chosen.
LASTS = timedelta(days=1)
COPIED_FROM = timedelta(days=30)
_AMONG = 50
_COUNTED_AT_ONCE = 2000
_LEFT = (MessageState.APPROVED, MessageState.SENT, MessageState.DELIVERED)
_ULID = re.compile(rf"[0-7][{CROCKFORD}]{{25}}")
# Names in a trigger that lead to other messages or to a person's command; a copy has
# others, or none.
_LEADS_ELSEWHERE = ("discord_interaction_id", "countersign_edit")
_RUNS = ("run_id", "runId")


@transaction.atomic
def plant_due(keys: Iterable[int], *, rng: random.Random | None = None) -> int:
    """Count the messages held since the last time, and plant what is due; return how
    many were planted.

    In each round of `one_in` messages one is due at a random place, drawn when the
    round begins, in the mailbox of the message there.
    """
    rng = rng or random.SystemRandom()
    settings = PracticeSetting.objects.select_for_update(of=("self",), skip_locked=True)
    setting = settings.filter(pk__in=keys).first()
    if setting is None:
        return 0
    new = Message.objects.real().filter(
        pk__gt=setting.counted_to,
        direction="outbound",
        hydrated_at__isnull=False,
        held_at__gte=setting.since,
        mailbox__isnull=False,
        review__is_apart=False,
    )
    counted = new.order_by("pk").values_list("pk", "mailbox_id")
    mailbox_id = None
    for key, of_message in list(counted[:_COUNTED_AT_ONCE]):
        setting.counted_to = key
        setting.counted += 1
        if setting.counted == setting.place:
            mailbox_id = of_message
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
    planted = plant_in(mailbox, rng=rng, signed_by=setting.signatories)
    return int(planted is not None)


def begin_round(setting: PracticeSetting, rng: random.Random) -> None:
    """Begin to count again, with another place."""
    setting.counted = 0
    setting.place = rng.randint(1, setting.one_in)


def plant_in(
    mailbox: Mailbox, *, rng: random.Random, signed_by: str
) -> PracticeMessage | None:
    """Plant one in a mailbox, in the caller's transaction; None where no message can be
    copied with a fault.

    `signed_by` names the two admins who switched practice messages on.
    """
    approved = Decision.objects.applied_as(Outcome.APPROVE).filter(
        message=OuterRef("pk"), given_by__isnull=False
    )
    copied = PracticeMessage.objects.filter(copied_from=OuterRef("pk"))
    # What a person approved there lately, without files, and not copied yet. The
    # content of an edit or of a test is nobody's usual mail.
    found = Message.objects.real().filter(
        Exists(approved),
        ~Exists(copied),
        mailbox=mailbox,
        state__in=_LEFT,
        direction="outbound",
        sandbox=False,
        changed_at__gt=clock() - COPIED_FROM,
        has_attachments=False,
        revision__isnull=False,
    )
    found = found.exclude(trigger__has_key="countersign_edit")
    newest = found.select_related("revision", "connection").order_by(
        "-changed_at", "-pk"
    )
    sources = list(newest[:_AMONG])
    rng.shuffle(sources)
    lists = Allowlist.objects.in_force(
        kind=Allowlist.Kind.RESTRICTION, connections=[mailbox.connection_id]
    )
    # Where a list is in force the desk stops such a recipient by itself, and an admin
    # might allow it.
    without = frozenset({"recipient"} if lists.exists() else ())
    for source in sources:
        assert source.revision is not None, "only messages with a content are copied"
        made = plant(store.stored_content(source.revision), rng, without=without)
        if made is not None:
            with traced(uuid.uuid4().hex[:16]):
                return _store(mailbox, source, made, rng, signed_by)
    log.info("no message to copy for a practice message", extra={"mailbox": mailbox.pk})
    return None


def _store(
    mailbox: Mailbox, source: Message, made: Planted, rng: random.Random, signed_by: str
) -> PracticeMessage:
    """Insert the message as one of MultiMail is inserted, with the same entry: until it
    is over, nothing differs.
    """
    connection = mailbox.connection
    now = clock()
    row = _row(mailbox, source, made.content, rng, now)
    message: Message = Message.objects.create(
        connection=connection,
        mailbox=mailbox,
        upstream_id=row["id"],
        is_local=True,
        state=MessageState.HELD,
        direction="outbound",
        upstream_status=row["status"],
        sender=source.sender,
        recipients=list(made.content.to),
        subject=made.content.subject,
        trigger=row["metadata"],
        held_at=now,
        changed_at=now,
        # Lists count nothing of it, and the gateway is not told when it expires.
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
        fault=made.fault,
        signed_by=signed_by[:400],
        explanation=made.explanation,
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
    """Return the copy as a row of MultiMail's list, with the fields that the copied
    message showed.
    """
    # As JSON, which has lists and no tuples.
    fields = json.loads(json.dumps(asdict(content))) | {
        "from": content.sender,
        "from_name": content.sender_name,
        # Neither a thread nor a time of sending: both would lead to the real message.
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
    """Return an id that looks like a known one and that MultiMail does not have.

    Our gateway's ids hold nanoseconds below a million in 20 bits
    (`common.identifiers.ulid`): here they are above it, so that the gateway can never
    make this id. Others are replaced by a random UUID.
    """
    if _ULID.fullmatch(known):
        beyond = rng.randint(1_000_000, 2**20 - 1)
        return ulid()[:10] + crockford((beyond << 60) | rng.getrandbits(60), 16)
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))

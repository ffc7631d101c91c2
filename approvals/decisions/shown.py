"""What a person was shown of a message: noted in the ledger when it is loaded or
opened, and stored with a verdict.

Parts that nobody opened do not block a decision; they are counted, shown beside it and
recorded.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from approvals.models import OpenedPart, RuleWeight
from audit.trail import recorded_actions
from common.actors import Actor
from common.postgres import atomic_with_retry
from mirror.models import AttachedFile, Message
from mirror.recording import record_about
from mirror.threads import Conversation
from policy.evaluation import Ruling
from rendering import named
from risk.findings import level_of, points_of, restored, score

SERVED = "message.served"
OPENED = "message.opened"
_LINK = re.compile(r"https?://|\bwww\.|mailto:|\bhref\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class UnreadPart:
    """One part: the key under which it is noted, its name for people, and its anchor on
    the page.
    """

    key: str
    name: str
    anchor: str


def attached_files(message: Message) -> list[AttachedFile]:
    """Return the attached files of the current version, without their bytes."""
    if message.revision is None or not message.revision.content.get("attachments"):
        return []
    return list(
        AttachedFile.objects.filter(revision=message.revision)
        .without_bytes()
        .in_order()
    )


def unread_parts(
    message: Message,
    conversation: Conversation,
    files: Iterable[AttachedFile],
    opened: Collection[str],
) -> list[UnreadPart]:
    """Return the parts of the current version that are not among those that a person
    opened.

    They are keyed by content: changed bytes or a newer message are unread again.
    """
    if message.revision is None:
        return []
    content = message.revision.content
    parts = [
        UnreadPart(key_of(file), named(file.name)[:80], "attachments") for file in files
    ]
    if has_links(content):
        parts.append(UnreadPart(links_key(message), "the links", "links"))
    if conversation.messages:
        parts.append(UnreadPart(conversation.part, "the thread", "thread"))
    return [part for part in parts if part.key not in opened]


def opened_parts(message: Message, actor: Actor) -> set[str]:
    """Return the keys of all parts of this message that the actor opened."""
    opened = OpenedPart.objects.filter(message=message, person=int(actor.id))
    return set(opened.values_list("part", flat=True))


def has_links(content: Mapping[str, Any]) -> bool:
    """Whether a stored content may hold links."""
    return bool(
        _LINK.search(f"{content.get('markdown') or ''} {content.get('html') or ''}")
    )


def key_of(file: AttachedFile) -> str:
    """Return the key of a file: of its bytes, which a next version may have too."""
    return f"file:{file.found_sha256 or file.pk}"


def links_key(message: Message) -> str:
    """Return the key of the links: of this version."""
    return f"links:{message.revision_id}"


@transaction.atomic
def note_opened_part(
    message: Message,
    key: str,
    actor: Actor,
    *,
    action: str = "",
    details: Mapping[str, Any] | None = None,
    each_time: bool = False,
) -> None:
    """Note that the actor loaded a part; with `action`, also in the ledger, the first
    time or each time.
    """
    if actor.kind != "person":
        return
    _, is_new = OpenedPart.objects.get_or_create(
        message=message, person_id=int(actor.id), part=key
    )
    if action and (is_new or each_time):
        record_about(
            action,
            message,
            actor=actor,
            fingerprint=message.fingerprint,
            details=details,
        )


def note_opened(message: Message, actor: Actor, *, fingerprint: str = "") -> None:
    """Record that the version with this fingerprint, or the current one, is on the
    actor's screen.

    A page may report this after the message has changed; a fingerprint of no version of
    this message is ignored.
    """
    if not fingerprint or message.revisions.filter(fingerprint=fingerprint).exists():
        note_served(message, actor, fingerprint=fingerprint, actions=(OPENED,))


def note_served(
    message: Message,
    actor: Actor,
    *,
    fingerprint: str = "",
    actions: Sequence[str] = (SERVED,),
) -> None:
    """Record that the actor's browser loaded this version, else the current one, where
    that is new; perhaps nobody has read it yet, unless it was opened as well.
    """
    fingerprint = fingerprint or message.fingerprint
    known = recorded_actions(
        message=message.public_id,
        actions=actions,
        actor_id=actor.id,
        fingerprint=fingerprint,
    )

    # An open page reloads often, and mostly nothing is new.
    if missing := [action for action in actions if action not in known]:
        _record_each(missing, message, actor, fingerprint)


@atomic_with_retry
def _record_each(
    actions: Sequence[str], message: Message, actor: Actor, fingerprint: str
) -> None:
    for action in actions:
        record_about(action, message, actor=actor, fingerprint=fingerprint)


VERSION = 1
# How many findings a ledger detail names; the verdict stores all of them.
MAX_LISTED = 20


def shown_context(
    message: Message,
    ruling: Ruling,
    conversation: Conversation,
    opened: Collection[str],
    *,
    risk_read: Collection[str],
) -> dict[str, Any]:
    """Return what a locked message's page shows at the moment of a verdict: version,
    findings, ruling, unread parts.

    The findings count by the current weights, which an admin may change later. `opened`
    are the parts that the person opened; findings of the rules in `risk_read` were
    ticked where high risk is approved.
    """
    unread = unread_parts(message, conversation, attached_files(message), opened)
    revision = message.revision
    assert revision is not None, "nobody gives a verdict on what was not fetched"
    found = [restored(one) for one in revision.findings]
    weights = RuleWeight.objects.points_by_rule() if found else {}
    total = score(found, weights)
    findings = [
        {
            "rule": one.rule,
            "version": one.version,
            "points": points_of(one, weights),
            "level": level_of(points_of(one, weights)),
            "sentence": one.sentence,
            "detail": one.detail,
            "viewed": one.rule in risk_read,
        }
        for one in found
    ]
    return {
        "v": VERSION,
        "revision": revision.number,
        "fingerprint": revision.fingerprint,
        "findings": sorted(findings, key=lambda one: -one["points"]),
        "points": total.points,
        "level": total.level,
        "ruling": list(ruling.reasons),
        "unread": [part.name for part in unread],
    }


def context_details(seen: Mapping[str, Any]) -> dict[str, str]:
    """Return the same as details of an entry, one finding or sentence a line."""
    findings = [
        f"{one['sentence']} ({one['rule']}, {one['points']})"
        for one in seen["findings"]
    ]
    viewed = [one["sentence"] for one in seen["findings"] if one["viewed"]]
    listed = findings[:MAX_LISTED]
    if len(findings) > MAX_LISTED:
        listed.append(f"… and {len(findings) - MAX_LISTED} more")
    return {
        "version": str(seen["revision"]),
        "parts_unread": ", ".join(seen["unread"]),
        "viewed": "\n".join(viewed[:MAX_LISTED]),
        "risk": f"{seen['points']} {seen['level']}".rstrip(),
        "findings": "\n".join(listed),
        "ruling": "\n".join(seen["ruling"]),
    }

"""What a person was shown of a message: noted in the ledger when it is loaded or opened, and stored with a verdict.

Parts that nobody opened do not block a decision; they are counted, shown beside it and recorded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from approvals.examination.weights import weights_to_show
from approvals.models import OpenedPart
from audit.recording import record
from audit.trail import recorded_actions
from common.postgres.anew import atomic_anew
from mirror.models import AttachedFile, Message
from mirror.threads.conversation import Conversation
from people.actors import Actor
from policy.evaluation import Ruling
from rendering import named
from risk import restored, score
from risk.score import level_of, points_of

_LINK = re.compile(r"https?://|\bwww\.|mailto:|\bhref\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One part: the key under which it is noted, its name for people, and where it stands on the page."""

    key: str
    name: str
    anchor: str


def parts_of(message: Message, conversation: Conversation) -> list[Part]:
    """Return the parts of the current version, each by what it holds: other bytes or a newer letter are unread."""
    if message.revision is None:
        return []
    content = message.revision.content
    parts = []
    if content.get("attachments"):
        files = AttachedFile.objects.filter(revision=message.revision).without_bytes().in_place()
        parts = [Part(key_of(file), named(file.name)[:80], "attachments") for file in files]
    if _LINK.search(f"{content.get('markdown') or ''} {content.get('html') or ''}"):
        parts.append(Part(links_key(message), "the links", "links"))
    if conversation.letters:
        parts.append(Part(conversation.part, "the thread", "thread"))
    return parts


def unread_parts(message: Message, *, person: int, conversation: Conversation) -> list[Part]:
    """Return the parts that this person was never given."""
    parts = parts_of(message, conversation)
    opened = OpenedPart.objects.of(message, person=person) if parts else set()
    return [part for part in parts if part.key not in opened]


def key_of(file: AttachedFile) -> str:
    """Return the key of a file: of its bytes, which a next version may have too."""
    return f"file:{file.found_sha256 or file.pk}"


def links_key(message: Message) -> str:
    """Return the key of the links: of this version."""
    return f"links:{message.revision_id}"


@transaction.atomic
def note_opened_part(
    message: Message,
    *,
    key: str,
    actor: Actor,
    action: str = "",
    details: Mapping[str, Any] | None = None,
    each_time: bool = False,
) -> None:
    """Note that the actor was given a part; in the ledger, where it has an act for that, the first time or each."""
    if actor.kind != "person":
        return
    _, is_new = OpenedPart.objects.get_or_create(message=message, person_id=int(actor.id), part=key)
    if action and (is_new or each_time):
        record(
            action,
            actor=actor,
            connection=message.connection_id,
            message=message.public_id,
            fingerprint=message.revision.fingerprint if message.revision else "",
            details=details,
            words=message.ledger_words(),
        )


def note_served(message: Message, *, actor: Actor, fingerprint: str = "") -> None:
    """The content was handed to the actor's browser, perhaps ahead of reading: of this version, else the current."""
    _note_once(["message.served"], message, actor, fingerprint)


def note_opened(message: Message, *, actor: Actor, fingerprint: str = "") -> None:
    """The message is on the actor's screen: the version with this fingerprint, or the current one.

    A page may report so after the message has changed; a version that is none of this message's was on no screen.
    """
    if not fingerprint or message.revisions.filter(fingerprint=fingerprint).exists():
        _note_once(["message.opened"], message, actor, fingerprint)


def note_served_and_opened(message: Message, *, actor: Actor) -> None:
    """The current version was handed to the actor's browser, which shows it at once."""
    _note_once(["message.served", "message.opened"], message, actor)


@atomic_anew
def _note_once(actions: Sequence[str], message: Message, actor: Actor, shown: str = "") -> None:
    found = shown or (message.revision.fingerprint if message.revision else "")
    told = recorded_actions(message=message.public_id, actions=actions, actor_id=actor.id, fingerprint=found)
    for action in actions:
        if action in told:
            continue
        record(
            action,
            actor=actor,
            connection=message.connection_id,
            message=message.public_id,
            fingerprint=found,
            words=message.ledger_words(),
        )


VERSION = 1
# A detail of the ledger tells so many findings; all of them stand with the verdict.
MAX_TOLD = 20


def seen_by(message: Message, *, ruling: Ruling, unread: Sequence[str]) -> dict[str, Any]:
    """Return what a locked message's page says at the moment of a verdict: its version, findings, ruling, unread parts.

    The findings count by the weights of this moment, which an admin may change later.
    """
    revision = message.revision
    assert revision is not None, "nobody gives a verdict on what was not fetched"
    found = [restored(one) for one in revision.findings]
    weights = weights_to_show() if found else {}
    together = score(found, weights)
    findings = [
        {
            "rule": one.rule,
            "version": one.version,
            "points": points_of(one, weights),
            "level": level_of(points_of(one, weights)),
            "sentence": one.sentence,
            "detail": one.detail,
        }
        for one in found
    ]
    return {
        "v": VERSION,
        "revision": revision.number,
        "fingerprint": revision.fingerprint,
        "findings": sorted(findings, key=lambda one: -one["points"]),
        "points": together.points,
        "level": together.level,
        "ruling": list(ruling.reasons),
        "unread": list(unread),
    }


def told_of(seen: Mapping[str, Any]) -> dict[str, str]:
    """Return the same as details of an entry, one finding or sentence a line."""
    findings = [f"{one['sentence']} ({one['rule']}, {one['points']})" for one in seen["findings"]]
    left_out = [f"… and {len(findings) - MAX_TOLD} more"] if len(findings) > MAX_TOLD else []
    return {
        "version": str(seen["revision"]),
        "parts_unread": ", ".join(seen["unread"]),
        "risk": f"{seen['points']}{' ' + seen['level'] if seen['level'] else ''}",
        "findings": "\n".join([*findings[:MAX_TOLD], *left_out]),
        "ruling": "\n".join(seen["ruling"]),
    }

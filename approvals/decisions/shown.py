"""What a person was shown of a message. That they loaded or opened it is recorded in
the ledger; which parts they opened, such as files and links, is stored; and what the
page showed is stored with their verdict.

Parts that a person has not opened do not keep them from deciding. They are listed
beside the decision and recorded with it.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals.decisions.ruling import Ruling, check_content, lock_for_reviewer
from approvals.errors import VerdictNotAllowed
from approvals.models import OpenedPart
from audit.trail import recorded_actions
from common.actors import Actor
from common.postgres import atomic_with_retry
from mirror.models import AttachedFile, Message
from mirror.recording import record_about
from mirror.threads import Conversation
from rendering import named
from risk.findings import Finding, level_of, restored, worst_first

# The ledger actions: a browser loaded the version, perhaps ahead; it is on screen.
SERVED = "message.served"
OPENED = "message.opened"
_LINKS = ("http://", "https://", "www.", "mailto:", "href")


@dataclass(frozen=True)
class UnreadPart:
    """A part that was not opened: the key under which opening it is stored, its name
    for people, and its anchor on the page.
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
    """Return the parts of the current version, among files, links and thread, whose
    keys are not in `opened`.

    The keys depend on the content, so a file with changed bytes, or a thread with a
    newer message, is unread again.
    """
    if message.revision is None:
        return []
    parts = [
        UnreadPart(key_of(file), named(file.name)[:80], "attachments") for file in files
    ]
    if has_links(message.revision.content):
        parts.append(UnreadPart(links_key(message), "the links", "links"))
    if conversation.messages:
        parts.append(UnreadPart(conversation.part, "the thread", "thread"))
    return [part for part in parts if part.key not in opened]


def opened_parts(message: Message, actor: Actor) -> set[str]:
    """Return the keys of all parts of this message that the actor opened or ticked."""
    opened = message.opened_parts.filter(person=actor.person_id)
    return set(opened.values_list("part", flat=True))


def has_links(content: Mapping[str, Any]) -> bool:
    """Whether a stored content may contain links."""
    text = f"{content.get('markdown') or ''} {content.get('html') or ''}".lower()
    return any(sign in text for sign in _LINKS)


def key_of(file: AttachedFile) -> str:
    """Return the key of a file. It is made of its bytes, so that the same file in the
    next version counts as opened.
    """
    return f"file:{file.found_sha256 or file.pk}"


def links_key(message: Message) -> str:
    """Return the key of a message's links; each version has its own."""
    return f"links:{message.revision_id}"


def file_name(file: AttachedFile) -> str:
    """Return the name of a file among what can be ticked as viewed."""
    return f"file-{file.place}"


def finding_name(finding: Finding) -> str:
    """Return the name of a finding among what can be ticked as viewed: made of its
    words, which are what was viewed.
    """
    words = "\n".join(
        (finding.rule, finding.sentence, finding.detail, *finding.evidence)
    )
    return f"finding-{hashlib.blake2b(words.encode(errors='replace'), digest_size=8).hexdigest()}"


def viewed_names(message: Message, opened: Collection[str]) -> set[str]:
    """Return the files and findings of the current version that a person ticked, of all
    parts that they opened.
    """
    start = _viewed_key(message, "")
    return {key.removeprefix(start) for key in opened if key.startswith(start)}


def _viewed_key(message: Message, name: str) -> str:
    return f"viewed:{message.revision_id}:{name}"


@atomic_with_retry
def set_viewed(
    *, message: UUID, name: str, fingerprint: str, is_viewed: bool, actor: Actor
) -> Message:
    """Tick a file or a finding as viewed by the actor, or take the tick away; a verdict
    records what is ticked.

    Raises ContentChanged where the version with this fingerprint is not the current
    one, and VerdictNotAllowed for people who cannot decide here, or where this version
    has no such file or finding.
    """
    locked = lock_for_reviewer(message, actor, to="tick what they viewed")
    revision = check_content(locked, fingerprint)
    known = {file_name(file) for file in attached_files(locked)}
    known.update(finding_name(restored(one)) for one in revision.findings)
    if name not in known:
        raise VerdictNotAllowed(
            "This version has no such file or finding. Look at the message again."
        )
    own: dict[str, Any] = {
        "message": locked,
        "person_id": actor.person_id,
        "part": _viewed_key(locked, name),
    }
    if is_viewed:
        OpenedPart.objects.get_or_create(**own)
    else:
        OpenedPart.objects.filter(**own).delete()
    return locked


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
    """Store that the actor opened a part. With `action`, record that in the ledger too:
    the first time, or with `each_time` every time.
    """
    if actor.kind != "person":
        return
    _, is_new = OpenedPart.objects.get_or_create(
        message=message, person_id=actor.person_id, part=key
    )
    if action and (is_new or each_time):
        record_about(
            action,
            message,
            actor,
            fingerprint=message.fingerprint,
            details=details,
        )


def note_opened(message: Message, actor: Actor, *, fingerprint: str = "") -> None:
    """Record in the ledger that the version with this fingerprint, or without one the
    current version, is on the actor's screen.

    The page may report a version that is no longer current. A fingerprint that no
    version of this message has is ignored.
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
    """Record in the ledger, once for each person and version, that the actor's browser
    loaded the version with this fingerprint, or without one the current version.

    Loaded (SERVED) does not mean read: a browser may load a page ahead. That it is on
    screen is recorded as OPENED.
    """
    fingerprint = fingerprint or message.fingerprint
    recorded = recorded_actions(
        message=message.public_id,
        actions=actions,
        actor_id=actor.id,
        fingerprint=fingerprint,
    )

    # An open page reloads often, and mostly nothing is new.
    if missing := [action for action in actions if action not in recorded]:
        _record_each(missing, message, actor, fingerprint)


@atomic_with_retry
def _record_each(
    actions: Sequence[str], message: Message, actor: Actor, fingerprint: str
) -> None:
    for action in actions:
        record_about(action, message, actor, fingerprint=fingerprint)


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
    """Return what the page of a locked message shows at the moment of a verdict, to be
    stored with it: version, findings, ruling and unread parts.

    `opened` are the parts that the person opened or ticked; findings of the rules in
    `risk_read` were ticked where high risk is approved.
    """
    files = attached_files(message)
    viewed = viewed_names(message, opened)
    unread = unread_parts(message, conversation, files, opened)
    revision = message.revision
    assert revision is not None, "nobody gives a verdict on what was not fetched"
    stored_findings = worst_first(map(restored, revision.findings))
    findings = [
        {
            "rule": one.rule,
            "version": one.version,
            "level": one.level,
            "sentence": one.sentence,
            "detail": one.detail,
            "viewed": finding_name(one) in viewed or one.rule in risk_read,
        }
        for one in stored_findings
    ]
    return {
        # The version of this format.
        "v": 1,
        "revision": revision.number,
        "fingerprint": revision.fingerprint,
        "findings": findings,
        "level": level_of(stored_findings),
        "ruling": list(ruling.reasons),
        "unread": [part.name for part in unread],
        "files": [
            {"name": named(file.name)[:80], "viewed": file_name(file) in viewed}
            for file in files
        ],
    }


def viewed_counts(seen: Mapping[str, Any]) -> str:
    """Return how many files and findings were ticked as viewed: "2 of 3 files, 1 of 1
    findings"; empty for neither.
    """
    counts = []
    for kind in ("files", "findings"):
        viewed = sum(bool(one.get("viewed")) for one in seen[kind])
        if seen[kind]:
            counts.append(f"{viewed} of {len(seen[kind])} {kind}")
    return ", ".join(counts)


def context_details(seen: Mapping[str, Any]) -> dict[str, str]:
    """Return the result of `shown_context` as details of a ledger entry, with one
    finding or sentence a line.
    """
    findings = [
        f"{one['sentence']} ({one['rule']}, {one['level']})" for one in seen["findings"]
    ]
    viewed = [one["name"] for one in seen["files"] if one["viewed"]]
    viewed += [one["sentence"] for one in seen["findings"] if one["viewed"]]
    listed = findings[:MAX_LISTED]
    if len(findings) > MAX_LISTED:
        listed.append(f"… and {len(findings) - MAX_LISTED} more")
    return {
        "version": str(seen["revision"]),
        "parts_unread": ", ".join(seen["unread"]),
        "viewed": "\n".join(filter(None, (viewed_counts(seen), *viewed[:MAX_LISTED]))),
        "risk": seen["level"],
        "findings": "\n".join(listed),
        "ruling": "\n".join(seen["ruling"]),
    }

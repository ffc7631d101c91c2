"""What the desk knows of earlier mail when a message is examined: who was written to, and what was rejected.

All of it is bounded: a few statements for each message, however long the history, the queue or the list of recipients.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from approvals.examination.queue_columns import queue_columns
from approvals.models import Decision
from common.fingerprint import Content, normalise_address
from common.postgres.statements import ANY, Part, any_of, told_together
from common.references import without_references
from mirror.models import Message
from mirror.querysets import earlier_mail
from mirror.querysets.connections import addresses_of_any
from mirror.querysets.earlier_mail import RejectedRow
from policy.allowlists.applicable import judge_content
from policy.allowlists.judgement import Judgement
from policy.models import Allowlist
from rendering import render_message
from risk import Rejected, RiskContext, find_risks
from risk.addresses import everybody
from risk.findings import may_have_left as may_have_left_finding
from risk.findings import worst_first
from risk.similarity import alike, bands, shape

# Contacts to compare with are those of the newest messages; whether one address was written to is asked exactly.
NEWEST, MOST_CONTACTS = 2000, 5000
MOST_ADDRESSES = 1000
# How long contacts are kept in this process. Those of a message's own recipients are never out of date.
KEPT_SECONDS, MOST_CONNECTIONS = 300.0, 100

_kept: "OrderedDict[int, tuple[float, Mapping[str, int]]]" = OrderedDict()


def risk_context(message: Message, content: Content) -> RiskContext:
    """Return what the desk knows of earlier mail that bears on this content of a message."""
    mailboxes, has_lists = _set_up(message.connection_id)
    own = {address.rpartition("@")[2].lower() for address in mailboxes}
    recipients = [address.lower() for address in everybody(content)]
    outside = [address for address in recipients if address.rpartition("@")[2] not in own]
    judged = judge_content(message, content) if has_lists else Judgement()
    return RiskContext(
        own_domains=tuple(sorted(own)),
        known_addresses=_known(message.connection_id, outside),
        rejected=rejected_like(message, content),
        off_list=[one for one in judged.refused if "@" in one],
        watched=[one for one in judged.would_be_refused if "@" in one],
    )


def _set_up(connection: int) -> tuple[list[str], bool]:
    """Return the addresses of a connection's mailboxes, and whether any allowlist is in force there, by one query."""
    told = told_together(_parts(), {ANY: connection})
    return told["addresses"], told["has_lists"]


@cache
def _parts() -> dict[str, Part]:
    lists = Allowlist.objects.in_force(kind=Allowlist.Kind.RESTRICTION, connections=[ANY])
    return {"addresses": addresses_of_any(), "has_lists": any_of(lists)}


def _known(connection: int, addresses: Sequence[str]) -> Mapping[str, int]:
    """Return the contacts of a connection with how often each was written to lately, these addresses exactly."""
    contacts = _contacts(connection)
    unknown = [address for address in addresses if address not in contacts][:MOST_ADDRESSES]
    if not contacts or not unknown:
        return contacts
    return {**contacts, **dict.fromkeys(earlier_mail.written_to(connection, unknown), 1)}


def _contacts(connection: int) -> Mapping[str, int]:
    """Return whom a connection wrote to lately, as this process knows it: looked up once in a while."""
    at, contacts = _kept.get(connection, (0.0, {}))
    # Nobody known yet: the first who is must not wait.
    if contacts and time.monotonic() - at < KEPT_SECONDS:
        return contacts
    contacts = earlier_mail.contacts_of(connection, newest=NEWEST, most=MOST_CONTACTS)
    _kept[connection] = (time.monotonic(), contacts)
    while len(_kept) > MOST_CONNECTIONS:
        _kept.popitem(last=False)
    return contacts


def clear_contacts() -> None:
    """Forget what was looked up: for tests, whose history changes faster than anybody's."""
    _kept.clear()


def rejected_like(message: Message, content: Content) -> Rejected | None:
    """Return a message like this one that a person rejected: the same first, one of the same mailbox first, the newest.

    Test messages are compared with test messages alone. A next version of what was sent back is none, whatever else
    was rejected: its writer was asked for it.
    """
    own_shape, own_bands = shape(content), bands(content)
    if not own_shape or message.answers_id is not None:
        return None
    if same := earlier_mail.rejected_with_shape(message, own_shape):
        return _rejected(message, same[0], is_same=True)
    near = earlier_mail.rejected_with_bands(message, own_bands)
    found = next((row for row in near if alike(row.bands, own_bands)), None)
    return _rejected(message, found, is_same=False) if found else None


def _rejected(message: Message, row: RejectedRow, *, is_same: bool) -> Rejected:
    return Rejected(
        public_id=str(row.public_id),
        by=row.by or "",
        at=_moment(row.at),
        reason=without_references(row.reason or ""),
        is_same=is_same,
        in_same_mailbox=row.mailbox is not None and row.mailbox == message.mailbox_id,
    )


def _moment(at: datetime) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC"


# An agent that was asked for changes answers within days, one that names neither thread nor trigger within hours.
WINDOW = timedelta(days=7)
SHORT_WINDOW = timedelta(hours=24)
# MultiMail's clock and ours may differ a little.
SLACK = timedelta(seconds=2)
MOST = 50
_RUNS = ("run_id", "runId", "discord_interaction_id")
_PEOPLE = ("discord_user_id", "discord_user")
_ANSWER = re.compile(r"\A(?:\s*(?:re|aw|fwd?)\s*:)+", re.IGNORECASE)


def sent_back_before(message: Message) -> Decision | None:
    """Return the decision that sent an earlier version of this message back; None where there is none.

    Of several, one whose message went to the same people comes first, then the newest.
    """
    if message.mailbox_id is None or message.direction == "inbound":
        return None
    asked = (
        Decision.objects.sent_back_between(message.held_at - WINDOW, message.held_at + SLACK)
        .filter(message__mailbox=message.mailbox_id, message__pk__lt=message.pk)
        .select_related("message")
        .order_by("-recorded_at", "-pk")
    )
    found = [decision for decision in asked[:MOST] if is_next_version(message, of=decision)]
    return next((one for one in found if _shares_people(message, one.message)), next(iter(found), None))


def is_next_version(message: Message, *, of: Decision) -> bool:
    """Whether the message comes from the thread or the trigger of the one that was sent back."""
    earlier = of.message
    if message.thread_id and message.thread_id == earlier.thread_id:
        return True
    is_about_the_same = _shares_people(message, earlier) or _plain_subject(message) == _plain_subject(earlier)
    if any(_same(message.trigger, earlier.trigger, name, other) for name in _RUNS for other in _RUNS):
        # A run may write to hundreds of people: another message of the run is not a next version of this one.
        return is_about_the_same
    if _is_from_the_same_person(message.trigger, earlier.trigger):
        return _shares_people(message, earlier)
    is_soon = message.held_at - of.recorded_at <= SHORT_WINDOW
    is_same_key = bool(message.sent_by_key) and message.sent_by_key == earlier.sent_by_key
    has_no_trigger = not _names_trigger(message.trigger) and not _names_trigger(earlier.trigger)
    is_same_letter = _shares_people(message, earlier) and _plain_subject(message) == _plain_subject(earlier)
    return is_soon and is_same_key and has_no_trigger and is_same_letter


def _same(trigger: Mapping[str, Any], other: Mapping[str, Any], name: str, other_name: str) -> bool:
    is_interaction = "discord_interaction_id" in (name, other_name)
    if is_interaction and name != other_name:
        return False
    return bool(trigger.get(name)) and str(trigger[name]) == str(other.get(other_name))


def _is_from_the_same_person(trigger: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    is_same_person = any(_same(trigger, other, name, name) for name in _PEOPLE)
    return is_same_person and trigger.get("discord_channel") == other.get("discord_channel")


def _names_trigger(trigger: Mapping[str, Any]) -> bool:
    return any(trigger.get(name) for name in (*_RUNS, *_PEOPLE))


def _shares_people(message: Message, other: Message) -> bool:
    return bool({*map(_folded, message.recipients)} & {*map(_folded, other.recipients)})


def _folded(address: object) -> str:
    return normalise_address(str(address)).lower()


def _plain_subject(message: Message) -> str:
    return _ANSWER.sub("", message.subject[:1000]).strip().casefold()


class DeskExaminer:
    """The review desk's answers to the mirror (`mirror.examination.Examiner`)."""

    def version_before(self, message: Message) -> Message | None:
        """Return the message whose request for changes this one answers; None where there is none."""
        decision = sent_back_before(message)
        return decision.message if decision else None

    def findings(self, message: Message, content: Content, *, may_have_left: bool) -> list[dict[str, Any]]:
        """Return the findings, worst first."""
        found = find_risks(content, render_message(content), risk_context(message, content))
        if may_have_left:
            found = worst_first((*found, may_have_left_finding()))
        return [asdict(finding) for finding in found]

    def queue_columns(
        self, message: Message, content: Content, findings: Iterable[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the columns that the queue sorts, filters and searches by."""
        return queue_columns(message, content=content, findings=findings)

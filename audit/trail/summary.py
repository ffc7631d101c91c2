"""The questions that everybody asks of a message, each answered in plain sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from audit.models import Entry
from audit.trail import Line, lines
from audit.trail.became import how_sealed, what_became, who_was_told
from audit.trail.decided import what_they_saw, who_decided
from audit.trail.places import Standing, standing_of
from audit.trail.removed import what_was_removed
from audit.trail.sentences import Answer, Sentence, sentence
from audit.trail.started import what_was_sent, who_started

# The answers rest on so many of the entries that tell of acts; a message with more of them is no message of people's.
MOST = 5000
# Nothing in the answers rests on these, and there may be very many of them.
_NOT_ASKED = ("message.served", "message.asked_about", "webhook.late", "ledger.seen_again", "ledger.proof_taken")


@dataclass(frozen=True)
class Summary:
    """What the top of the page says."""

    subject: str
    fingerprint: str
    is_inbound: bool
    answers: tuple[Answer, ...]
    standing: Standing
    # What the reader must know before the answers: that something was removed, or that not all was looked at.
    notes: tuple[Sentence, ...]


def summary_of(message: UUID) -> Summary:
    """Return the answers for one message, from its entries."""
    told = lines(Entry.objects.of_message(message).exclude(action__in=_NOT_ASKED).oldest_first()[: MOST + 1])
    standing = standing_of(Entry.objects.of_message(message).values_list("pk", flat=True))
    notes = list(what_was_removed(told))
    if len(told) > MOST:
        notes.append(sentence(f"The answers rest on the first {MOST:,} entries; the story has all of them."))
        told = told[:MOST]
    return Summary(
        subject=next((line.details["subject"] for line in reversed(told) if line.details.get("subject")), ""),
        fingerprint=next((line.entry.fingerprint for line in reversed(told) if line.entry.fingerprint), ""),
        is_inbound=any(line.details.get("direction") == "inbound" for line in told),
        answers=answers_of(told, standing),
        standing=standing,
        notes=tuple(notes),
    )


def answers_of(told: Sequence[Line], standing: Standing) -> tuple[Answer, ...]:
    """Return the questions with what these entries answer."""
    return (
        Answer("Who started it?", tuple(who_started(told))),
        Answer("What was sent to whom?", tuple(what_was_sent(told))),
        Answer("Who decided it, and when?", tuple(who_decided(told))),
        Answer("What had they seen?", tuple(what_they_saw(told))),
        Answer("What became of it?", (*what_became(told), *who_was_told(told))),
        Answer("Can it be proved?", (how_sealed(standing),)),
    )

"""Decisions whose effect is not known, and those that had none: each with the one thing that a person can do."""

from collections.abc import Iterator

from approvals.models import Decision
from approvals.operations.items import REVIEWER, Stuck, ask_again, named, open_page
from mirror.states import DecisionState, MessageState, Outcome
from people.actors import Actor


def in_doubt(actor: Actor, *, at_most: int) -> Iterator[Stuck]:
    """Return the oldest decisions that a person has to end, or that reading should have ended by now."""
    found = Decision.objects.visible_to(actor).left_in_doubt().with_message().order_by("changed_at")[:at_most]
    for decision in found:
        tell = {
            DecisionState.UNKNOWN: _unknown,
            DecisionState.UNATTRIBUTED: _unattributed,
            DecisionState.WITHDRAWN: _withdrawn,
        }[DecisionState(decision.state)]
        yield tell(decision, actor)


def _unknown(decision: Decision, actor: Actor) -> Stuck:
    message = decision.message
    why = decision.explanation or "MultiMail did not answer."
    what = f"It is not known whether {named(message)} was {decision.word}"
    repeats = message.connection.repeats_unknown_approvals
    if decision.outcome == Outcome.APPROVE and decision.has_been_read_as_held and not repeats:
        return Stuck(
            decision.state,
            what,
            decision.changed_at,
            f"{why} Two complete reads showed it still held, so that the call most likely had no effect.",
            "Read it once more, then send it again: that is never done by itself.",
            open_page(actor, message, "Read it, then send again"),
            message,
            whose=REVIEWER,
            several=f"approvals through {message.connection} may not have had their effect",
        )
    advice = "The desk finds out by reading, every few seconds; you can have it look now."
    return Stuck(
        decision.state,
        what,
        decision.changed_at,
        why,
        advice,
        ask_again(actor, message, "Look again"),
        message,
        several=f"decisions through {message.connection} may or may not have been carried out",
    )


def _unattributed(decision: Decision, actor: Actor) -> Stuck:
    gone = "MultiMail does not hold it any more, and nothing says what became of it."
    return Stuck(
        decision.state,
        f"{named(decision.message)} was decided, and it is not known by whom",
        decision.changed_at,
        decision.explanation if gone in decision.explanation else f"{decision.explanation} {gone}".strip(),
        "Look it up at MultiMail, then say on its page what became of it.",
        open_page(actor, decision.message, "Say what became of it"),
        decision.message,
        whose=REVIEWER,
        several=f"messages of {decision.message.connection} were decided, and it is not known by whom",
    )


def _withdrawn(decision: Decision, actor: Actor) -> Stuck:
    message = decision.message
    what = f"{named(message)} may still leave"
    several = f"messages of {message.connection} may still leave"
    why = decision.explanation or "It was stopped after its call may have gone out."
    if message.state == MessageState.HELD and decision.outcome == Outcome.APPROVE:
        advice = "Reject it at MultiMail: what comes first there counts."
        act = open_page(actor, message, "Reject at MultiMail")
        return Stuck(decision.state, what, decision.changed_at, why, advice, act, message, None, REVIEWER, several)
    if message.state == MessageState.GONE:
        advice = "MultiMail does not hold it any more: look it up there, then say on its page what became of it."
        act = open_page(actor, message, "Say what became of it")
        return Stuck(decision.state, what, decision.changed_at, why, advice, act, message, None, REVIEWER, several)
    advice = "The desk finds out by reading what became of it; you can have it look now."
    act = ask_again(actor, message, "Look again")
    return Stuck(decision.state, what, decision.changed_at, why, advice, act, message, several=several)


def refused(actor: Actor, *, at_most: int) -> Iterator[Stuck]:
    """Return the oldest decisions that were not carried out lately, and whose messages are held again."""
    found = Decision.objects.visible_to(actor).refused_lately().with_message().order_by("changed_at")[:at_most]
    for decision in found:
        yield Stuck(
            "refused",
            f"{named(decision.message)} was {decision.word}, and is held again",
            decision.changed_at,
            decision.explanation,
            "Nothing was sent. Read it again, then decide anew.",
            open_page(actor, decision.message, "Read again"),
            decision.message,
            whose=REVIEWER,
            several=f"messages of {decision.message.connection} were decided, and are held again",
        )

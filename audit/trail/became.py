"""What became of a message, who was told of it, and how far its entries are sealed."""

from collections.abc import Iterator, Sequence

from audit.trail import Line
from audit.trail.decided import DID
from audit.trail.places import Standing
from audit.trail.sentences import Sentence, code, listed, sentence, theirs
from common.references import split_reference

_REPORTS = {
    "message.approved": "MultiMail reported it as approved",
    "message.rejected": "MultiMail reported it as rejected",
    "message.sent": "It was handed over to delivery",
    "message.delivered": "A mail server accepted it for the recipients",
    "message.bounced": "It bounced",
    "message.complained": "Somebody who got it complained of it as spam",
    "message.cancelled": "It was cancelled",
    "message.failed": "Sending it failed",
    "message.released": "It was released to the agent",
    "message.gone": "MultiMail no longer holds it; how it was decided is not known",
    "message.left_behind": "It was left at MultiMail when its connection was removed",
}
_STEPS = {
    "decision.undone": "The decision was taken back before anything left",
    "decision.calling": "The desk took the decision to MultiMail",
    "decision.applied": "The decision took effect",
    "decision.refused": "MultiMail did not carry the decision out",
    "decision.superseded": "Somebody else had decided first",
    "decision.unknown": "It is not known whether the decision took effect",
    "decision.without_effect": "A person said that the decision had not taken effect",
    "decision.unattributed": "It was found decided, but not by whom",
    "decision.withdrawn": "The decision was withdrawn, and may still take effect",
    "decision.confirmed": "The decision was sent once more",
    "decision.left_after_all": "The decision had left after all",
    "decision.found_again": "It was found held again",
}
_BY = {"webhook": "told by MultiMail's webhook", "worker": "found by the desk when it asked MultiMail"}
# Of many tries to carry it out, so many are told here; all of them stand in the story.
_MOST = 12


def what_became(lines: Sequence[Line]) -> Iterator[Sentence]:
    """Yield what happened to it after it was decided or went past the desk, in order."""
    told = [one for one in lines if one.entry.action in _REPORTS or one.entry.action in _STEPS]
    for line in told[:_MOST]:
        yield _step(line)
    if len(told) > _MOST:
        yield sentence(f"{len(told) - _MOST - 1:,} more steps stand in the story. The last of them:")
        yield _step(told[-1])
    if told and told[-1].entry.action == "message.sent":
        yield sentence("Neither a delivery nor a bounce has been reported since.")
    if not told:
        was_held = any(one.entry.action == "message.held" for one in lines)
        is_decided = any(one.entry.action == "decision.recorded" for one in lines)
        waits = "It waits for the end of its undo window." if is_decided else "It waits for a decision."
        yield sentence(waits if was_held else "Nothing was reported of it since.")


def _step(line: Line) -> Sentence:
    action, of = line.entry.action, line.details
    words = _REPORTS.get(action) or _STEPS[action]
    outcome = f" ({DID[of['outcome']]})" if action in _STEPS and of.get("outcome") in DID else ""
    by = [f", {_BY[line.entry.surface]}"] if action in _REPORTS and line.entry.surface in _BY else []
    by = [", by ", theirs(line.actor)] if line.entry.actor_kind == "person" else by  # type: ignore[list-item]
    why = of.get("explanation") or of.get("reason") or ""
    why, reference = split_reference(why)
    # MultiMail gives back what the desk sent: these are not its own words.
    sent = ", with the reason that the desk had sent: “" if reference else ": “"
    said = (sent, theirs(why), "”") if why else ()
    mark = (", marked with our reference ", code(reference)) if reference else ()
    return sentence(words, outcome, ", ", line.entry.at, *by, *said, *mark, ".")


def who_was_told(lines: Sequence[Line]) -> Iterator[Sentence]:
    """Yield where alerts told of it, and where they failed."""
    shown = [one for one in lines if one.entry.action == "alert.delivered"]
    places = list(dict.fromkeys(one.details.get("destination", "") for one in shown))
    if shown:
        joined = " in " if len(places) < 2 else " "
        named = [joined, *listed([one for one in places if one])] if any(places) else []
        turned = len(shown) - max(len(places), 1)
        since = f", and followed it {turned} time{'' if turned == 1 else 's'} since" if turned else ""
        told = "An alert told of it" if len(places) < 2 else f"Alerts told of it in {len(places)} places:"
        yield sentence(told, *named, ", first ", shown[0].entry.at, f"{since}.")
    if failed := [one for one in lines if one.entry.action == "alert.failed"]:
        yield sentence(f"{len(failed)} alert{'' if len(failed) == 1 else 's'} could not be delivered.")


def how_sealed(standing: Standing) -> Sentence:
    """Say how far the entries are sealed."""
    if standing.newest is None:
        return sentence("No entry is sealed yet: until then they are protected by the database's rights alone.")
    number = standing.newest.number
    if standing.sealed == standing.entries:
        return sentence(f"All {standing.entries:,} entries are sealed, the last with seal {number}, ",
                        standing.newest.at, ".")  # fmt: skip
    waiting = standing.entries - standing.sealed
    are = "entry is" if waiting == 1 else "entries are"
    return sentence(f"{standing.sealed:,} of {standing.entries:,} entries are sealed, up to seal {number}, ",
                    standing.newest.at, f"; {waiting:,} {are} not sealed yet.")  # fmt: skip

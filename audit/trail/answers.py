"""What an audit trail says at its top, from the entries of the message, oldest first:
who started it, what was sent to whom, who decided it, what they saw, and what became of
it.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.utils.text import capfirst

from audit.models import Entry, SealedEntry
from audit.trail import lines
from audit.trail.sentences import Sentence, duration, sentence
from common.references import without_references

# The answers rest on at most so many entries; a message with more of them was not
# written for people.
MOST = 5000
# The answers do not use these, and there may be very many of them.
_NOT_ASKED = (
    "message.served",
    "message.asked_about",
    "webhook.late",
    "ledger.seen_again",
    "ledger.proof_taken",
)


def summary_of(message: UUID) -> dict[str, Any]:
    """Return the summary at the top of a message's page, from its entries."""
    entries = Entry.objects.of_message(message)
    found = lines(entries.exclude(action__in=_NOT_ASKED).oldest_first()[:MOST])
    marks = (line.fingerprint for line in reversed(found) if line.fingerprint)
    return {
        "subject": _first(found[::-1], "subject"),
        "fingerprint": next(marks, ""),
        "answers": answers_of(found),
        "entries": entries.count(),
        "sealed": SealedEntry.objects.filter(entry__in=entries.values("pk")).count(),
        "removed": sum(line.is_redacted for line in found),
        "is_cut": len(found) == MOST,
    }


def answers_of(found: Sequence[Entry]) -> tuple[tuple[str, list[Sentence]], ...]:
    """Return each question with the sentences that these entries answer."""
    return (
        ("Who started it?", list(_who_started(found))),
        ("What was sent, and to whom?", list(_what_was_sent(found))),
        ("Who decided it, and when?", list(_who_decided(found))),
        ("Who saw what?", list(_what_they_saw(found))),
        ("What became of it?", list(_what_became(found))),
    )


def _first(found: Sequence[Entry], name: str) -> str:
    return next((line.details[name] for line in found if line.details.get(name)), "")


def _of_action(found: Sequence[Entry], *actions: str) -> list[Entry]:
    return [line for line in found if line.action in actions]


# --- Who started it -------------------------------------------------------------------

# The evidence of a fact: the sender claimed it, or it was verified.
SAYS = "says"
PROVED = "proved"
_TRIGGER_NAMES = {
    "discord_user": "Discord user",
    "discord_user_id": "User id",
    "discord_channel": "Channel",
    "discord_channel_id": "Channel id",
    "discord_guild": "Guild",
    "discord_interaction_id": "Interaction",
    "run_id": "Run",
    "runId": "Run",
}
# What the entry of a signed command calls the same.
_SIGNED = {
    "discord_user": "discord",
    "discord_user_id": "discord_id",
    "discord_channel": "channel",
    "discord_channel_id": "channel_id",
    "discord_guild": "guild",
    "discord_interaction_id": "interaction",
}


def message_origin(found: Sequence[Entry]) -> dict[str, Any]:
    """Return the content of the first chapter: names and values with their evidence as
    `facts`, and as `line` the entry that has them.

    What a program wrote into its own message is claimed. It is verified where the desk
    carried out a command that says the same, because Discord signed that.
    """
    line = next((one for one in found if one.trigger), found[0])
    facts = [
        (
            _TRIGGER_NAMES.get(name, name.replace("_", " ")),
            value,
            PROVED if _is_signed(name, value, found) else SAYS,
        )
        for name, value in line.trigger.items()
    ]
    if key := _first(found, "key"):
        facts.append(("API key", key, PROVED))
    if sender := _first(found, "sender"):
        facts.append(("From", sender, ""))
    return {"line": line, "facts": facts}


def _is_signed(name: str, value: str, found: Sequence[Entry]) -> bool:
    commands = _of_action(found, "message.commanded")
    return bool(commands) and commands[0].details.get(_SIGNED.get(name, "")) == value


_ASKED = (
    "The Discord user[ {discord_user}][ ({discord_user_id:code})][ in {discord_channel}]"
    "[ of the server {discord_guild}] asked for it[, interaction {discord_interaction_id:code}] ({evidence:words})."
)


def _who_started(found: Sequence[Entry]) -> Iterator[Sentence]:
    trigger = next((line.trigger for line in found if line.trigger), {})
    named: dict[str, Any] = {name: trigger.get(name, "") for name in _SIGNED}
    is_inbound = _first(found, "direction") == "inbound"
    if is_inbound:
        form = "It was received by email[, from {sender} as the email claims]."
        yield sentence(form, sender=_first(found, "sender"))
    elif named["discord_user"] or named["discord_user_id"]:
        given = [(name, value) for name, value in named.items() if value]
        is_proved = all(_is_signed(name, value, found) for name, value in given)
        evidence = "verified" if is_proved else "claimed by the sender"
        yield sentence(_ASKED, evidence=evidence, **named)
    elif any(line.is_redacted for line in found):
        yield sentence("Who asked for it was removed with the personal details.")
    else:
        yield sentence(
            "An agent sent it through the API and named no person who asked for it."
        )
    for line in _of_action(found, "message.commanded"):
        form = "{actor} gave this desk the command[ {command:code}], signed by Discord."
        yield sentence(form, line)
    form = "It was sent with the API key “{key}” (verified)."
    if key := _first(found, "key"):
        yield sentence(form, key=key)
    elif not is_inbound:
        yield sentence("The API key that sent it is not known.")


# --- What was sent --------------------------------------------------------------------

_CONTENT = (
    "{what:words}[ ({mark:code})][: “{subject}”][, from {sender}][, to {to}][, cc {cc}][, bcc {bcc}]"
    "[, replies to {reply_to}][, with {attachments}][, to be sent at {send_at}]."
)
_CONTENT_FIELDS = (
    "subject",
    "sender",
    "to",
    "cc",
    "bcc",
    "reply_to",
    "attachments",
    "send_at",
)


def _what_was_sent(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield each version of the content, or what was reported of it."""
    versions = _of_action(found, "message.fetched", "message.changed")
    for number, line in enumerate(versions, 1):
        version = f"Version {line.details.get('version') or number}"
        yield _content(line, version)
    if versions:
        return
    reported = [
        line for line in found if line.subject or line.details.get("recipients")
    ]
    if reported:
        what = "The content never reached this desk. MultiMail reported"
        yield _content(reported[0], what)
    else:
        yield sentence(
            "Its content is not known: it was never fetched, or it was removed."
        )


def _content(line: Entry, what: str) -> Sentence:
    if line.is_redacted:
        form = "{what:words}[ ({mark:code})], {at}: the details were removed."
        return sentence(form, line, what=what)
    # Of several files, each has a line.
    texts: dict[str, Any] = {
        name: line.details.get(name, "").replace("\n", ", ") for name in _CONTENT_FIELDS
    }
    texts["to"] = texts["to"] or line.details.get("recipients", "")
    return sentence(_CONTENT, line, what=what, **texts)


# --- Who decided ----------------------------------------------------------------------

_DID = {"approve": "approved", "reject": "rejected", "send_back": "requested changes"}
_SURFACES = {
    "web": "the desk's pages",
    "discord": "Discord",
    "api": "the API",
    "webhook": "a webhook",
}
_VERDICT = (
    "{actor} {did:words}[ version {version:words}][ ({mark:code})], {at}, through {through:words}"
    "[, from {address:code}][, {approvals:words} approvals][, to be sent {later:words}][. Reason: “{reason}”]."
)
# What else people did about a decision.
_ALSO = (
    "verdict.taken_back",
    "decision.undone",
    "verdict.refused",
    "interaction.refused",
)


def _who_decided(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield every verdict, every decision of a rule, who took one back, and who was
    refused one.
    """
    is_decided = False
    for line in found:
        did = _DID.get(line.details.get("outcome", ""), "decided")
        if line.action == "verdict.given":
            is_decided = True
            through = _SURFACES.get(line.surface, line.surface)
            yield sentence(_VERDICT, line, did=did, through=through)
        elif line.action == "decision.recorded" and line.actor_kind != "person":
            is_decided = True
            by = "[ by the rule “{rule}”][ by {actor}, signed by {signed_by}]"
            form = f"The desk {did} it{by}, {{at}}[. Reason: “{{reason}}”]."
            yield sentence(form, line)
        elif line.action in _ALSO:
            yield sentence(
                f"{{actor}} {line.sentence}, {{at}}[: {{explanation}}]", line
            )
        is_press = line.action in ("verdict.given", "interaction.refused")
        if is_press and line.details.get("interaction"):
            who = "[: {discord}][, user {discord_id:code}]"
            form = f"Discord signed who pressed{who}, interaction {{interaction:code}}."
            yield sentence(form, line)
    if is_decided:
        return
    elsewhere = ("message.approved", "message.rejected", "message.gone")
    if reported := _of_action(found, *elsewhere):
        form = f"Nobody decided it on this desk. MultiMail {reported[0].sentence}, {{at}}[. Reason: “{{reason}}”]."
        yield sentence(form, reported[0])
    elif _of_action(found, "message.held"):
        yield sentence("Nobody has decided it.")
    else:
        yield sentence("Nobody. It was never held for review.")


# --- What they saw --------------------------------------------------------------------


def _what_they_saw(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield for each verdict what its reviewer had opened and was told; then who else
    opened the message.
    """
    verdicts = _of_action(found, "verdict.given")
    opened = _of_action(found, "message.opened")
    for line in verdicts:
        yield _opened_before(line, opened)
        if line.is_redacted:
            yield sentence("What they were told was removed with the personal details.")
            continue
        told = sentence(
            "[Risk {risk:words}. ][The findings: “{findings}”. ]"
            "[Ticked as viewed: {viewed}. ][The ruling: “{ruling}”.]",
            line,
            viewed=line.details.get("viewed", "").partition("\n")[0],
            findings=line.details.get("findings", "").replace("\n", " "),
            ruling=line.details.get("ruling", "").replace("\n", " "),
            risk=line.details.get("risk", ""),
        )
        yield told or sentence("What they were told was not recorded.")
    deciders = {line.actor_id for line in verdicts}
    readers = {line.actor: line for line in opened if line.actor_id not in deciders}
    for line in readers.values():
        yield sentence("{actor} opened it, {at}, and gave no verdict.", line)
    if not verdicts and not readers:
        yield sentence("Nobody opened it on this desk.")


def _opened_before(verdict: Entry, opened: Sequence[Entry]) -> Sentence:
    same = (verdict.actor_id, verdict.fingerprint)
    before = (
        one.at
        for one in opened
        if (one.actor_id, one.fingerprint) == same and one.pk < verdict.pk
    )
    since = next(before, None)
    unread = "[ They had not opened: {parts_unread}.]"
    if since is None:
        form = (
            "{actor} never opened that version on the desk, as far as the ledger shows."
        )
        return sentence(form + unread, verdict)
    shown = verdict.details.get("seconds_shown") or (verdict.at - since).total_seconds()
    return sentence(
        "{actor} opened that version {since}, {shown:words} before deciding." + unread,
        verdict,
        since=since,
        shown=duration(float(shown)),
    )


# --- What became of it ----------------------------------------------------------------

_STEPS = (
    "message.approved",
    "message.rejected",
    "message.sent",
    "message.delivered",
    "message.bounced",
    "message.complained",
    "message.cancelled",
    "message.failed",
    "message.released",
    "message.gone",
    "message.left_behind",
    "decision.undone",
    "decision.calling",
    "decision.applied",
    "decision.refused",
    "decision.superseded",
    "decision.unknown",
    "decision.without_effect",
    "decision.unattributed",
    "decision.withdrawn",
    "decision.confirmed",
    "decision.left_after_all",
    "decision.found_again",
)
# The most attempts to carry a decision out that are listed here; the story has all of
# them.
_MOST_STEPS = 12


def _what_became(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield the newest things that happened after the message was decided or bypassed
    the desk, in order.
    """
    steps = _of_action(found, *_STEPS)
    if len(steps) > _MOST_STEPS:
        yield sentence("Earlier steps are listed below.")
    for line in steps[-_MOST_STEPS:]:
        details = line.details
        why = without_references(
            details.get("explanation") or details.get("reason") or ""
        )
        form = f"{{who}} {line.sentence}, {{at}}[: “{{why}}”]."
        yield sentence(form, line, who=capfirst(line.actor), why=why)
    if not steps or steps[-1].action == "message.sent":
        yield sentence("Nothing has been reported since.")

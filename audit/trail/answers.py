"""The answers at the top of a message's audit trail, as sentences: who started it, what
was sent to whom, who was notified, who decided it, who saw what, and what became of it.

They are computed from the entries of the message alone, the oldest first.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.utils.text import capfirst

from audit.models import Entry, SealedEntry
from audit.trail import lines
from audit.trail.sentences import Sentence, duration, sentence
from common.endings import EndedBy
from common.references import without_references

# How many entries of a message are read for the answers. An ordinary message has far
# fewer.
MOST = 5000
# Actions that the answers do not use, and of which there may be very many.
_NOT_ASKED = (
    "message.served",
    "message.asked_about",
    "webhook.late",
    "ledger.seen_again",
    "ledger.proof_taken",
)


def summary_of(message: UUID) -> dict[str, Any]:
    """Return the template context of the summary at the top of an audit trail."""
    of_message = Entry.objects.of_message(message)
    entries = lines(of_message.exclude(action__in=_NOT_ASKED).oldest_first()[:MOST])
    fingerprints = (
        entry.fingerprint for entry in reversed(entries) if entry.fingerprint
    )
    return {
        "subject": _first(entries[::-1], "subject"),
        "fingerprint": next(fingerprints, ""),
        "answers": answers_of(entries),
        "entries": of_message.count(),
        "sealed": SealedEntry.objects.filter(entry__in=of_message.values("pk")).count(),
        "removed": of_message.filter(detail=None).exclude(detail_hashes={}).count(),
        "is_cut": len(entries) == MOST,
    }


def answers_of(entries: Sequence[Entry]) -> tuple[tuple[str, list[Sentence]], ...]:
    """Return (question, sentences that answer it) for each question."""
    return (
        ("Who started it?", list(_who_started(entries))),
        ("What was sent, and to whom?", list(_what_was_sent(entries))),
        ("Who was notified, and what was answered?", list(_who_was_notified(entries))),
        ("Who decided it, and when?", list(_who_decided(entries))),
        ("Who saw what?", list(_what_they_saw(entries))),
        ("What became of it?", list(_what_became(entries))),
    )


def _first(entries: Sequence[Entry], name: str) -> str:
    return next(
        (entry.details[name] for entry in entries if entry.details.get(name)), ""
    )


def _of_action(entries: Sequence[Entry], *actions: str) -> list[Entry]:
    return [entry for entry in entries if entry.action in actions]


# --- Who started it -------------------------------------------------------------------

# The evidence for a fact: the sender claimed it, or it was verified.
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
# Names of the metadata by which a sender says who asked on Discord.
_ON_DISCORD = """
discord_user discord_user_id discord_channel discord_channel_id discord_guild
discord_interaction_id
""".split()


def message_origin(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return who started a message, for the page: `facts` as (name, value, evidence),
    and the entry that has them as `line`.

    What the sender wrote into the message is claimed. It is verified if the desk
    carried out a Discord command that says the same, because Discord signed the
    command.
    """
    entry = next((one for one in entries if one.trigger), entries[0])
    signed = _signed(entries)
    facts = [
        (
            _TRIGGER_NAMES.get(name, name.replace("_", " ")),
            value,
            PROVED if signed.get(name) == value else SAYS,
        )
        for name, value in entry.trigger.items()
    ]
    if key := _first(entries, "key"):
        facts.append(("API key", key, PROVED))
    if sender := _first(entries, "sender"):
        facts.append(("From", sender, ""))
    return {"line": entry, "facts": facts}


def _signed(entries: Sequence[Entry]) -> dict[str, str]:
    commands = _of_action(entries, "message.commanded")
    return next((one.trigger for one in commands), {})


_ASKED = (
    "The Discord user[ {discord_user}][ ({discord_user_id:code})][ in {discord_channel}]"
    "[ of the server {discord_guild}] asked for it[, interaction {discord_interaction_id:code}] ({evidence:words})."
)


def _who_started(entries: Sequence[Entry]) -> Iterator[Sentence]:
    trigger = next((entry.trigger for entry in entries if entry.trigger), {})
    named: dict[str, Any] = {name: trigger.get(name, "") for name in _ON_DISCORD}
    is_inbound = _first(entries, "direction") == "inbound"
    if is_inbound:
        form = "It was received by email[, from {sender} as the email claims]."
        yield sentence(form, sender=_first(entries, "sender"))
    elif named["discord_user"] or named["discord_user_id"]:
        evidence = "claimed by the sender"
        if trigger.items() <= _signed(entries).items():
            evidence = "verified"
        yield sentence(_ASKED, evidence=evidence, **named)
    elif any(entry.is_redacted for entry in entries):
        yield sentence("Who asked for it was removed with the personal details.")
    else:
        yield sentence(
            "An agent sent it through the API and named no person who asked for it."
        )
    form = "It was sent with the API key “{key}” (verified)."
    if key := _first(entries, "key"):
        yield sentence(form, key=key)
    elif not is_inbound:
        yield sentence("The API key that sent it is not known.")


# --- What was sent --------------------------------------------------------------------

_CONTENT = (
    "{what:words}[ ({mark:code})][: “{subject}”][, from {sender}][, to {to}][, cc {cc}][, bcc {bcc}]"
    "[, replies to {reply_to}][, with {attachments}][, to be sent at {send_at}]."
)
_CONTENT_FIELDS = "subject sender to cc bcc reply_to attachments send_at".split()


def _what_was_sent(entries: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield a sentence for each version of the content; or one about what MultiMail
    reported, if the content was never fetched.
    """
    versions = _of_action(entries, "message.fetched", "message.changed")
    for number, entry in enumerate(versions, 1):
        yield _content(entry, f"Version {entry.details.get('version') or number}")
    if versions:
        return
    reported = [
        entry for entry in entries if entry.subject or entry.details.get("recipients")
    ]
    if reported:
        what = "The content never reached this desk. MultiMail reported"
        yield _content(reported[0], what)
    else:
        yield sentence(
            "Its content is not known: it was never fetched, or it was removed."
        )


# The sentence about one version of the content; `what` is how it begins.
def _content(entry: Entry, what: str) -> Sentence:
    if entry.is_redacted:
        form = "{what:words}[ ({mark:code})], {at}: the details were removed."
        return sentence(form, entry, what=what)
    # Several attachments are on a line each.
    texts: dict[str, Any] = {
        name: entry.details.get(name, "").replace("\n", ", ")
        for name in _CONTENT_FIELDS
    }
    texts["to"] = texts["to"] or entry.details.get("recipients", "")
    return sentence(_CONTENT, entry, what=what, **texts)


# --- Who was notified -----------------------------------------------------------------


def _who_was_notified(entries: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield a sentence for each person or destination, way and outcome, with the last
    answer.
    """
    told: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in _of_action(entries, "alert.delivered", "alert.failed"):
        of = entry.details
        key = (entry.action, of.get("destination", ""), of.get("way", ""))
        told.setdefault(key, []).append(entry)
    for (action, to, way), group in told.items():
        times = len(group)
        outcome = "not delivered" if action == "alert.failed" else "delivered"
        yield sentence(
            "{to}[ ({way:words})]: {outcome:words}[ {times:words} times, last] {at}[, answer {answer:code}].",
            group[-1],
            to=to or "A destination",
            way=way,
            outcome=outcome,
            times=times if times > 1 else "",
        )
    if not told:
        yield sentence("Nobody was notified outside the desk.")


# --- Who decided ----------------------------------------------------------------------

_DID = {"approve": "approved", "reject": "rejected", "send_back": "requested changes"}
_SURFACES = {
    "web": "the desk's pages",
    "discord": "Discord",
    "slack": "Slack",
    "api": "the API",
    "webhook": "a webhook",
}
_VERDICT = (
    "{actor} {did:words}[ version {version:words}][ ({mark:code})], {at}, through {through:words}"
    "[, from {address:code}][, {approvals:words} approvals][, to be sent {later:words}][. Reason: “{reason}”]."
)
# Other things that people did about a decision.
_ALSO = (
    "verdict.taken_back",
    "decision.undone",
    "verdict.refused",
    "act.refused",
    "interaction.refused",
)


# Actions that tell of a decision at MultiMail.
_ELSEWHERE = (
    "message.approved",
    "message.released",
    "message.rejected",
    "message.gone",
)


def _who_decided(entries: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield a sentence for each verdict, each decision by a rule, and each time that
    one was taken back or refused.
    """
    is_decided = False
    for entry in entries:
        did = _DID.get(entry.outcome or entry.details.get("outcome", ""), "decided")
        if entry.action == "verdict.given":
            is_decided = True
            through = _SURFACES.get(entry.surface, entry.surface)
            yield sentence(_VERDICT, entry, did=did, through=through)
        elif entry.action == "decision.recorded" and entry.actor_kind != "person":
            is_decided = True
            by = "[ by the rule “{rule}”]"
            if entry.details.get("signed_by"):
                by = " by {actor}, signed by {signed_by}"
            form = f"The desk {did} it{by}, {{at}}[. Reason: “{{reason}}”]."
            if entry.details.get("rule") == EndedBy.EXPIRY:
                form = "It expired, nobody decided, {at}[. Reason: “{reason}”]."
            yield sentence(form, entry)
        elif entry.action == "decision.elsewhere":
            is_decided = True
            form = "{who} {did:words} it outside this desk, as {actor} says, {at}[. Reason: “{reason}”]."
            if entry.details.get("ended_by") == EndedBy.EXPIRY:
                form = "It expired outside this desk, nobody decided, as {actor} says, {at}[. Reason: “{reason}”]."
            who = entry.details.get("decided_by", "Somebody")
            reason = without_references(entry.details.get("reason", ""))
            yield sentence(form, entry, who=who, did=did, reason=reason)
        elif entry.action in _ALSO:
            form = f"{{actor}} {entry.sentence}[ ({{act:words}})], {{at}}[: {{explanation}}][ They wrote: “{{reason}}”]"
            yield sentence(form, entry)
        is_press = entry.action in ("verdict.given", "interaction.refused")
        if is_press and entry.details.get("interaction"):
            who = f"[: {{{entry.surface}}}][, user {{{entry.surface}_id:code}}]"
            signer = _SURFACES.get(entry.surface, entry.surface)
            form = (
                f"{signer} signed who pressed{who}, interaction {{interaction:code}}."
            )
            yield sentence(form, entry)
    if is_decided:
        return
    if reported := _of_action(entries, *_ELSEWHERE):
        form = f"Nobody decided it on this desk. MultiMail {reported[0].sentence}, {{at}}[. Reason: “{{reason}}”]."
        yield sentence(form, reported[0])
    elif _of_action(entries, "message.held"):
        yield sentence("Nobody has decided it.")
    else:
        yield sentence("Nobody. It was never held for review.")


# --- What they saw --------------------------------------------------------------------


def _what_they_saw(entries: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield for each verdict what the reviewer had opened, and which risk, findings and
    ruling were shown to them; then who else opened the message.
    """
    verdicts = _of_action(entries, "verdict.given")
    opened = _of_action(entries, "message.opened")
    for entry in verdicts:
        yield _opened_before(entry, opened)
        if entry.is_redacted:
            yield sentence("What they were told was removed with the personal details.")
            continue
        shown_to_them = sentence(
            "[Risk {risk:words}. ][The findings: “{findings}”. ]"
            "[Ticked as viewed: {viewed}. ][They were told: “{ruling}”.]",
            entry,
            viewed=entry.details.get("viewed", "").partition("\n")[0],
            findings=entry.details.get("findings", "").replace("\n", " "),
            ruling=entry.details.get("ruling", "").replace("\n", " "),
            risk=entry.details.get("risk", ""),
        )
        yield shown_to_them or sentence("What they were told was not recorded.")
    deciders = {entry.actor_id for entry in verdicts}
    readers = {
        entry.actor_id: entry for entry in opened if entry.actor_id not in deciders
    }
    for entry in readers.values():
        yield sentence("{actor} opened it, {at}, and gave no verdict.", entry)
    if not verdicts and not readers:
        yield sentence("Nobody opened it on this desk.")


# The sentence that says whether, and how long before, the reviewer had opened the
# version that they decided.
def _opened_before(verdict: Entry, opened: Sequence[Entry]) -> Sentence:
    same = (verdict.actor_id, verdict.fingerprint)
    before = (
        one.at
        for one in opened
        if (one.actor_id, one.fingerprint) == same and one.pk < verdict.pk
    )
    since = next(before, None)
    unread = "[ They had not opened: {parts_unread}.]"
    if not since:
        form = (
            "{actor} never opened that version on the desk, as far as the ledger shows."
        )
        return sentence(form + unread, verdict)
    seconds = (
        verdict.details.get("seconds_shown") or (verdict.at - since).total_seconds()
    )
    return sentence(
        "{actor} opened that version {since}, {shown:words} before deciding." + unread,
        verdict,
        since=since,
        shown=duration(float(seconds)),
    )


# --- What became of it ----------------------------------------------------------------

_STEPS = """
    message.approved message.rejected message.sent message.delivered message.bounced
    message.complained message.cancelled message.failed message.released
    message.gone message.left_behind decision.undone decision.calling
    decision.applied decision.refused decision.superseded decision.unknown
    decision.without_effect decision.unattributed decision.withdrawn
    decision.confirmed decision.left_after_all decision.found_again
""".split()
# How many steps are listed here, the newest ones; the story below has all of them.
_MOST_STEPS = 12


def _what_became(entries: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield a sentence for each of the newest steps of carrying out the decision,
    sending and delivery, in order.
    """
    steps = _of_action(entries, *_STEPS)
    if len(steps) > _MOST_STEPS:
        yield sentence("Earlier steps are listed below.")
    for entry in steps[-_MOST_STEPS:]:
        details = entry.details
        why = without_references(
            details.get("explanation") or details.get("reason") or ""
        )
        form = f"{{who}} {entry.sentence}, {{at}}[: “{{why}}”]."
        yield sentence(form, entry, who=capfirst(entry.actor), why=why)
    if not steps or steps[-1].action == "message.sent":
        yield sentence("Nothing has been reported since.")

"""The usual questions about a message, answered in sentences from its entries, oldest
first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from audit.models import Entry, Seal, SealedEntry
from audit.trail import lines
from audit.trail.sentences import (
    PROVED,
    SAYS,
    Answer,
    Sentence,
    duration,
    lines_of,
    listed,
    listed_addresses,
    sentence,
)
from common.references import split_reference

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


@dataclass(frozen=True)
class SealCoverage:
    """How many of a message's entries are sealed, and the newest seal that covers one."""

    sealed: int
    entries: int
    newest: Seal | None


def summary_of(message: UUID) -> dict[str, Any]:
    """Return the summary at the top of a message's page, from its entries."""
    entries = Entry.objects.of_message(message)
    found = lines(entries.exclude(action__in=_NOT_ASKED).oldest_first()[: MOST + 1])
    numbers = list(entries.values_list("pk", flat=True))
    seals = list(
        SealedEntry.objects.filter(entry__in=numbers).values_list("seal", flat=True)
    )
    newest = Seal.objects.filter(number=max(seals)).first() if seals else None
    coverage = SealCoverage(len(seals), len(numbers), newest)
    # That details were removed, or that not all entries were read.
    notes = list(_what_was_removed(found))
    if len(found) > MOST:
        notes.append(
            sentence(
                f"These answers use the first {MOST:,} entries; all entries are listed below."
            )
        )
        found = found[:MOST]
    marks = (line.fingerprint for line in reversed(found) if line.fingerprint)
    return {
        "subject": _first(found[::-1], "subject"),
        "fingerprint": next(marks, ""),
        "answers": answers_of(found, coverage),
        "coverage": coverage,
        "notes": notes,
    }


def answers_of(found: Sequence[Entry], coverage: SealCoverage) -> tuple[Answer, ...]:
    """Return the questions with what these entries answer."""
    return (
        Answer("Who started it?", tuple(who_started(found))),
        Answer("What was it, and for whom?", tuple(_what_was_sent(found))),
        Answer("Who decided it, and when?", tuple(_who_decided(found))),
        Answer("Who saw what?", tuple(_what_they_saw(found))),
        Answer("What became of it?", tuple(_what_became(found))),
        Answer("Can it be proved?", (_how_sealed(coverage),)),
    )


def _first(found: Sequence[Entry], name: str) -> str:
    return next((line.details[name] for line in found if line.details.get(name)), "")


def _of_action(found: Sequence[Entry], *actions: str) -> list[Entry]:
    return [line for line in found if line.action in actions]


# --- Who started it -------------------------------------------------------------------

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


def who_started(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield who started it. What a program wrote into its own message is claimed, not
    verified.
    """
    trigger = next((line.trigger for line in found if line.trigger), {})
    is_inbound = _first(found, "direction") == "inbound"
    if is_inbound:
        form = "It was received by email[ from {sender}]."
        yield sentence(form, evidence=SAYS, sender=_first(found, "sender"))
    elif trigger:
        command = _command_in(found)
        named: dict[str, Any] = {name: trigger.get(name, "") for name in _SIGNED}
        named["discord_channel"] = named["discord_channel"].lstrip("#")
        if named["discord_user"] or named["discord_user_id"]:
            who = "{discord_user_id:code}"
            if named["discord_user"]:
                who = "{discord_user}[ ({discord_user_id:code})]"
            where = "[ in #{discord_channel}][ of the server {discord_guild}]"
            is_proved = all(
                _is_signed(name, trigger, command)
                for name in _SIGNED
                if trigger.get(name)
            )
            form = f"The Discord user {who}{where} asked for it[ (interaction {{discord_interaction_id:code}})]."
            yield sentence(form, evidence=PROVED if is_proved else SAYS, **named)
        else:
            yield sentence(
                "An agent sent it through the API. No Discord user is named."
            )
        if command is not None:
            is_named = command.details.get("actor")
            who = "{actor}" if is_named else "A person whose name was removed"
            form = f"{who} gave this desk the command[ {{command:code}}], signed by Discord."
            yield sentence(form, command, evidence=PROVED)
    else:
        yield sentence(
            "An agent sent it through the API and named nobody who asked for it."
        )
    if key := _first(found, "key"):
        form = "It was sent with the API key “{key}”."
        yield sentence(form, evidence=PROVED, key=key)
    elif not is_inbound:
        yield sentence("MultiMail did not name the API key that sent it.")
    if run := trigger.get("run_id") or trigger.get("runId"):
        yield sentence("It belongs to run {run:code}.", evidence=SAYS, run=run)
    # Fields without a name of their own are in one detail of this name.
    others = [
        value if name == "other" else f"{name}: {value}"
        for name, value in trigger.items()
        if name not in _TRIGGER_NAMES
    ]
    if others:
        yield sentence(
            "The sender also wrote: {others}", evidence=SAYS, others=listed(others)
        )


def _command_in(found: Sequence[Entry]) -> Entry | None:
    """Return the entry of the command: Discord signed it, and the desk itself carried
    it out.
    """
    return next(iter(_of_action(found, "message.commanded")), None)


def _is_signed(name: str, trigger: dict[str, str], command: Entry | None) -> bool:
    """Whether Discord signed just what the sender wrote there."""
    signed = command.details.get(_SIGNED.get(name, ""), "") if command else ""
    return bool(signed) and signed == trigger.get(name)


def message_origin(found: Sequence[Entry]) -> dict[str, Any]:
    """Return the content of the first chapter: names and values with their evidence as
    `facts`, and as `line` the entry that has them.
    """
    line = next((one for one in found if one.trigger), found[0])
    trigger = line.trigger
    command = _command_in(found)
    facts = [
        (name, trigger[key], PROVED if _is_signed(key, trigger, command) else SAYS)
        for key, name in _TRIGGER_NAMES.items()
        if trigger.get(key)
    ]
    facts += [
        (name.replace("_", " "), value, SAYS)
        for name, value in trigger.items()
        if name not in _TRIGGER_NAMES
    ]
    if key := _first(found, "key"):
        facts.append(("API key", key, PROVED))
    if sender := _first(found, "sender"):
        facts.append(("From", sender, ""))
    return {"line": line, "facts": facts}


# --- What was sent --------------------------------------------------------------------


def _what_was_sent(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield each version of the content, with all details of its entry."""
    versions = _of_action(found, "message.fetched", "message.changed")
    for number, line in enumerate(versions, 1):
        yield _content(line, f"Version {line.details.get('version') or number}")
    if versions:
        return
    first = next(
        (line for line in found if line.subject or line.details.get("recipients")), None
    )
    if first is None:
        yield sentence(
            "Its content is not known: it was never fetched, or it was removed."
        )
    else:
        yield sentence("The content never reached this desk. What MultiMail reported:")
        yield _content(first, "It")


def _content(line: Entry, name: str) -> Sentence:
    if line.is_redacted:
        form = "{name:words}[ ({mark:code})], seen {at}: the details were removed."
        return sentence(form, line, name=name)
    details = line.details
    # The address stands apart from the name, which may look like another address.
    sender, _, address = details.get("sender", "").rpartition(" ")
    if not sender or "@" not in address:
        sender = details.get("sender", "")
        address = ""
    to = listed_addresses(details.get("to") or details.get("recipients", ""))
    files = lines_of(details.get("attachments", ""))
    return sentence(
        "{name:words}[ ({mark:code})]:"
        + (" “{subject}”" if details.get("subject") else " without a subject")
        + "[, from {sender}][ ({address:code})]"
        + (", to {to}" if to else ", recipients not known")
        + "[, cc {cc}][, bcc {bcc}][, replies to {reply_to}][, with {number:words}: {files}][, to be sent at {send_at}]"
        + "[. MultiMail did not show: {hidden:words}].",
        line,
        name=name,
        sender=sender,
        address=address,
        to=to,
        cc=listed_addresses(details.get("cc", "")),
        bcc=listed_addresses(details.get("bcc", "")),
        number=f"{len(files)} file{'' if len(files) == 1 else 's'}",
        files=listed(files),
        hidden=details.get("not_shown", "").replace("_", " "),
    )


# --- Who decided, and what they saw ---------------------------------------------------

_DID = {"approve": "approved", "reject": "rejected", "send_back": "requested changes"}
_SURFACES = {
    "web": "the desk's pages",
    "discord": "Discord",
    "api": "the API",
    "webhook": "a webhook",
}
_REASON = "[. Reason: “{reason}”]"
# What else people did about a decision.
_ALSO = {
    "verdict.taken_back": "{actor} took the approval back, {at}.",
    "decision.undone": "{actor} undid the decision, {at}.",
    "verdict.refused": "{actor} tried to decide and was refused, {at}: {why}",
    "interaction.refused": "{actor} pressed a button on Discord and was refused, {at}: {why}",
}


def _who_decided(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield every verdict, every rule's decision, who took one back, and who was
    refused one.
    """
    is_decided = False
    for line in found:
        action = line.action
        details = line.details
        why = details.get("explanation", "why was removed")
        if action == "verdict.given":
            is_decided = True
            # Discord sends no network address of the person who pressed.
            is_unknown = not details.get("address") and line.surface != "discord"
            yield sentence(
                "{actor} {did:words} "
                + ("version {version:words}" if details.get("version") else "it")
                + "[ ({mark:code})], {at}, through {through:words}"
                + (", address not known" if is_unknown else "[, from {address:code}]")
                + (", in bulk with other messages" if details.get("sheet") else "")
                + "[, {approvals:words} approvals]"
                + f"[, to be sent {{later:words}}]{_REASON}.",
                line,
                verdict=details.get("verdict", ""),
                did=_DID.get(details.get("outcome", ""), "gave a verdict on"),
                through=_SURFACES.get(line.surface, line.surface),
            )
            yield from _signed(line)
        elif action == "decision.recorded" and line.actor_kind != "person":
            is_decided = True
            if details.get("signed_by"):
                form = "The desk approved it by {actor}, signed by {signed_by}, {at}."
                yield sentence(form, line)
                continue
            rule = "the rule “{rule}”" if details.get("rule") else "a rule"
            did = _DID.get(details.get("outcome", ""), "decided")
            yield sentence(f"The desk {did} it by {rule}, {{at}}{_REASON}.", line)
        elif action in _ALSO:
            yield sentence(_ALSO[action], line, why=why)
            if action == "interaction.refused":
                yield from _signed(line)
    if is_decided:
        return
    if reported := _of_action(found, "message.approved", "message.rejected"):
        how = reported[0].action.removeprefix("message.")
        form = f"Nobody decided it on this desk. MultiMail reported it as {how}, {{at}}{_REASON}."
        yield sentence(form, reported[0])
    elif _of_action(found, "message.gone"):
        yield sentence(
            "Nobody decided it on this desk. MultiMail no longer holds it and does not say who decided."
        )
    elif _of_action(found, "message.held"):
        yield sentence("Nobody has decided it.")
    else:
        yield sentence("Nobody. It was never held for review.")


def _signed(line: Entry) -> Iterator[Sentence]:
    """Yield who it was on Discord: its signature proves that."""
    if line.details.get("interaction"):
        who = "{discord_id:code}"
        if line.details.get("discord"):
            who = "{discord} ({discord_id:code})"
        form = f"The Discord user {who} pressed the button (interaction {{interaction:code}}, signed by Discord)."
        number = line.details.get("discord_id", "")
        yield sentence(form, line, evidence=PROVED, discord_id=number)


def _what_they_saw(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield for each verdict what its reviewer had seen, and who else opened the
    message.
    """
    verdicts = _of_action(found, "verdict.given")
    opened = _of_action(found, "message.opened")
    for line in verdicts:
        yield from _seen(line, opened)
    deciders = {line.actor_id for line in verdicts}
    readers = {
        line.actor: line for line in reversed(opened) if line.actor_id not in deciders
    }
    for line in sorted(readers.values(), key=lambda line: line.pk):
        yield sentence("{actor} opened it, {at}, and gave no verdict.", line)
    if not verdicts and not readers:
        yield sentence("Nobody opened it on this desk.")


def _seen(verdict: Entry, opened: Sequence[Entry]) -> Iterator[Sentence]:
    details = verdict.details
    same = (verdict.actor_id, verdict.fingerprint)
    before = [
        one
        for one in opened
        if (one.actor_id, one.fingerprint) == same and one.pk < verdict.pk
    ]
    on_card = verdict.surface == "discord" and not before
    if on_card:
        form = "{actor} pressed a button on its card in Discord without opening that version on the desk."
        yield sentence(form, verdict)
    elif before:
        since = before[0].at
        seconds = details.get("seconds_shown") or (verdict.at - since).total_seconds()
        yield sentence(
            "{actor} opened that version {since}, {shown:words} before deciding.",
            verdict,
            verdict=details.get("verdict", ""),
            since=since,
            shown=duration(float(seconds)),
        )
    else:
        yield sentence(
            "{actor} never opened that version on the desk, as far as the ledger shows.",
            verdict,
        )
    if verdict.is_redacted:
        yield sentence(
            "What else {actor} saw was removed with the personal details.", verdict
        )
        return
    if details.get("parts_unread"):
        who = "The card does not show" if on_card else "They had not opened"
        page = "it" if on_card else "its page"
        yield sentence(f"{who} these parts of {page}: {{parts_unread}}.", verdict)
    elif on_card:
        yield sentence("The card shows the sender and recipients, but not the text.")
    else:
        yield sentence("They had opened every part of its page.")
    if details.get("viewed") and not on_card:
        viewed = " ".join(lines_of(details["viewed"]))
        yield sentence("{actor} ticked as read: {viewed}", verdict, viewed=viewed)
    if "risk" not in details:
        yield sentence("Findings and ruling were not recorded at that time.")
        return
    findings = lines_of(details.get("findings", ""))
    form = (
        f"{'The desk knew of' if on_card else 'The page showed'} {len(findings) or 'no'} "
        f"finding{'' if len(findings) == 1 else 's'}, risk {{risk:words}}[: {{found}}]."
    )
    yield sentence(form, verdict, found=listed(findings, most=20))
    told = listed(lines_of(details.get("ruling", "")))
    yield sentence("The ruling they saw: “{told}”", told=told)


# --- What became of it ----------------------------------------------------------------

_REPORTS = {
    "message.approved": "MultiMail reported it as approved",
    "message.rejected": "MultiMail reported it as rejected",
    "message.sent": "It was sent",
    "message.delivered": "A mail server accepted it for the recipients",
    "message.bounced": "It bounced",
    "message.complained": "A recipient marked it as spam",
    "message.cancelled": "It was cancelled",
    "message.failed": "Sending it failed",
    "message.released": "It was released to the agent",
    "message.gone": "MultiMail no longer holds it; how it was decided is not known",
    "message.left_behind": "It was left at MultiMail when its connection was removed",
}
_STEPS = {
    "decision.undone": "The decision was undone before anything was sent",
    "decision.calling": "The desk sent the decision to MultiMail",
    "decision.applied": "The decision took effect",
    "decision.refused": "MultiMail did not carry out the decision",
    "decision.superseded": "Another decision came first",
    "decision.unknown": "It is not known whether the decision took effect",
    "decision.without_effect": "A person said that the decision had not taken effect",
    "decision.unattributed": "It was found decided, by whom is not known",
    "decision.withdrawn": "The decision was withdrawn, and may still take effect",
    "decision.confirmed": "The decision was sent again",
    "decision.left_after_all": "The message was sent after all",
    "decision.found_again": "It was found held again",
}
_SOURCES = {
    "webhook": ", as reported by MultiMail's webhook",
    "worker": ", as MultiMail answered when the desk asked",
}
# The most attempts to carry a decision out that are listed here; the story has all of
# them.
_MOST_STEPS = 12


def _what_became(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield what happened after the message was decided or bypassed the desk, in order;
    then where alerts about it were delivered, and where they failed.
    """
    steps = _of_action(found, *_REPORTS, *_STEPS)
    yield from map(_step, steps[:_MOST_STEPS])
    if len(steps) > _MOST_STEPS:
        yield sentence(
            f"{len(steps) - _MOST_STEPS - 1:,} more steps are listed below. The last one:"
        )
        yield _step(steps[-1])
    if steps and steps[-1].action == "message.sent":
        yield sentence("No delivery or bounce has been reported since.")
    if not steps and _of_action(found, "message.held"):
        decided = _of_action(found, "decision.recorded")
        if not decided:
            waits = "a decision"
        elif decided[-1].details.get("signed_by"):
            waits = "the end of the time in which anybody can stop it"
        elif decided[-1].details.get("later"):
            waits = "the chosen time"
        else:
            waits = "the end of its undo window"
        yield sentence(f"It waits for {waits}.")
    elif not steps:
        yield sentence("Nothing has been reported since.")
    if shown := _of_action(found, "alert.delivered"):
        destinations = dict.fromkeys(one.details.get("destination") for one in shown)
        updates = len(shown) - len(destinations)
        where = "An alert was posted[ in {named}]"
        if len(destinations) > 1:
            where = f"Alerts were posted in {len(destinations)} places:[ {{named}}]"
        since = ""
        if updates:
            since = f", and updated {updates} time{'' if updates == 1 else 's'} since"
        named = listed([one for one in destinations if one])
        yield sentence(f"{where}, first {{at}}{since}.", shown[0], named=named)
    if failed := _of_action(found, "alert.failed"):
        alerts = "alert" if len(failed) == 1 else "alerts"
        yield sentence(f"{len(failed)} {alerts} could not be delivered.")


def _step(line: Entry) -> Sentence:
    action = line.action
    details = line.details
    form = _REPORTS.get(action) or _STEPS[action]
    outcome = details.get("outcome", "")
    if action in _STEPS and outcome in _DID:
        form += f" ({_DID[outcome]})"
    form += ", {at}"
    if line.actor_kind == "person":
        form += ", by {actor}"
    elif action in _REPORTS:
        form += _SOURCES.get(line.surface, "")
    why, reference = split_reference(
        details.get("explanation") or details.get("reason") or ""
    )
    # MultiMail repeats what the desk sent: these are not its own words.
    form += (
        "[, with the reason that the desk sent: “{why}”]"
        if reference
        else "[: “{why}”]"
    )
    form += "[, marked with our reference {reference:code}]."
    return sentence(form, line, why=why, reference=reference)


# --- How far it can be proved, and what was removed -----------------------------------


def _how_sealed(coverage: SealCoverage) -> Sentence:
    newest = coverage.newest
    sealed = coverage.sealed
    entries = coverage.entries
    left = entries - sealed
    if newest is None:
        return sentence(
            "No entry is sealed yet: only database permissions protect them until then."
        )
    if not left:
        form = f"All {entries:,} entries are sealed, the last with seal {newest.number}, {{at}}."
    else:
        are = "entry is" if left == 1 else "entries are"
        form = f"{sealed:,} of {entries:,} entries are sealed, up to seal {newest.number}, {{at}}"
        form += f"; {left:,} {are} not sealed yet."
    return sentence(form, at=newest.at)


# The most removals by age that are searched for the one that removed an entry's
# details.
_MOST_REMOVALS = 1000


def _what_was_removed(found: Sequence[Entry]) -> Iterator[Sentence]:
    """Yield how many entries lost their personal details and when: by request, or by
    age.
    """
    redacted = [line for line in found if line.is_redacted]
    if not redacted:
        return
    number = "all entries"
    if len(redacted) < len(found):
        number = f"{len(redacted):,} of {len(found):,} entries"
    at: datetime | None = None
    actor = ""
    if erased := _of_action(found, "ledger.details_erased"):
        at = erased[-1].at
        actor = erased[-1].actor
    else:
        # When details as old as these were first removed, where the ledger still shows
        # it.
        newest = redacted[-1]
        removals = Entry.objects.of_action("ledger.details_removed").after(newest.pk)
        for removal in lines(removals.oldest_first()[:_MOST_REMOVALS]):
            try:
                until = datetime.strptime(
                    removal.details.get("up to", ""), "%Y-%m-%d %H:%M:%S UTC"
                ).replace(tzinfo=UTC)
            except ValueError:
                continue
            if until >= newest.at:
                at = removal.at
                break
    form = f"The personal details of {number} were removed[ on {{at}}][, by {{actor}}]."
    yield sentence(f"{form} The entries can still be checked.", at=at, actor=actor)

"""Who or what started a message, and what was sent to whom: as its entries tell, and how far each is proved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.trail import Line
from audit.trail.sentences import Piece, Sentence, addresses_of, code, lines_of, listed, sentence, theirs
from common.fingerprint import short_fingerprint

_SAYS, _PROVED = "says", "proved"
_CONTENT = ("message.fetched", "message.changed")
_NAMES = {
    "discord_user": "Discord user",
    "discord_user_id": "User id",
    "discord_channel": "Channel",
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
    "discord_guild": "guild",
    "discord_interaction_id": "interaction",
}


def who_started(lines: Sequence[Line]) -> Iterator[Sentence]:
    """Yield who started it. What a program wrote into the message it sent is said, not proved."""
    trigger = next((line.trigger for line in lines if line.trigger), {})
    is_inbound = _first(lines, "direction") == "inbound"
    if is_inbound:
        who = _first(lines, "sender")
        where = (", as ", theirs(who), ",") if who else ()
        yield sentence("Somebody outside", *where, " wrote it, and it came by email.", standing=_SAYS)
    elif trigger:
        yield from _by_trigger(trigger, _commanded(lines))
    else:
        yield sentence("An agent sent it through the API. Nobody is named as having asked for it.")
    if key := _first(lines, "key"):
        yield sentence(
            "It was sent with the API key “", theirs(key), "”: MultiMail checked the key and told its name.",
            standing=_PROVED,
        )  # fmt: skip
    elif not is_inbound:
        yield sentence("MultiMail did not tell with which API key it was sent.")
    if run := trigger.get("run_id") or trigger.get("runId"):
        yield sentence("It belongs to the run ", code(run), ".", standing=_SAYS)
    # What is not known by name stands together in one detail of that name.
    others = [value if name == "other" else f"{name}: {value}" for name, value in trigger.items() if name not in _NAMES]
    if others:
        yield sentence("Its sender wrote besides: ", *listed(others), standing=_SAYS)


def _is_signed(name: str, trigger: dict[str, str], commanded: Line | None) -> bool:
    """Whether Discord signed just what the sender wrote there."""
    told = commanded.details.get(_SIGNED.get(name, ""), "") if commanded else ""
    return bool(told) and told == trigger.get(name)


def _commanded(lines: Sequence[Line]) -> Line | None:
    """Return the entry that tells of the command: Discord signed it, and the desk itself carried it out."""
    return next((line for line in lines if line.entry.action == "message.commanded"), None)


def _first(lines: Sequence[Line], name: str) -> str:
    return next((line.details[name] for line in lines if line.details.get(name)), "")


def _by_trigger(trigger: dict[str, str], commanded: Line | None) -> Iterator[Sentence]:
    user, number = trigger.get("discord_user", ""), trigger.get("discord_user_id", "")
    if user or number:
        pieces: list[str | Piece] = ["The Discord user ", theirs(user) if user else code(number)]
        pieces += [" (", code(number), ")"] if user and number else []
        channel, guild = trigger.get("discord_channel", "").lstrip("#"), trigger.get("discord_guild", "")
        pieces += [" in the channel #", theirs(channel)] if channel else []
        pieces += [" of the guild ", theirs(guild)] if guild else []
        pieces += [" asked for it"]
        interaction = trigger.get("discord_interaction_id", "")
        pieces += [", with the interaction ", code(interaction)] if interaction else []
        is_proved = all(_is_signed(name, trigger, commanded) for name in _SIGNED if trigger.get(name))
        yield sentence(*pieces, ".", standing=_PROVED if is_proved else _SAYS)
    else:
        yield sentence("An agent sent it through the API. No Discord user is named.")
    if commanded is not None:
        who = commanded.details.get("actor", "")
        name: list[str | Piece] = [theirs(who)] if who else ["Somebody whose name was removed"]
        given = commanded.details.get("command", "")
        yield sentence(
            *name, " gave the command ", *([code(given)] if given else []), " to this desk: Discord signed it.",
            standing=_PROVED,
        )  # fmt: skip


def what_was_sent(lines: Sequence[Line]) -> Iterator[Sentence]:
    """Yield each version of the content, with all that its entry tells."""
    versions = [line for line in lines if line.entry.action in _CONTENT]
    if not versions:
        told = next((line for line in lines if line.subject or line.details.get("recipients")), None)
        if told is None:
            yield sentence("Nothing is known of its content: it was never fetched, or what was known was removed.")
            return
        yield sentence("The content never came to this desk. What was told of it:")
        yield _letter(told, "It")
    for place, line in enumerate(versions, 1):
        number = line.details.get("version") or str(place)
        yield _letter(line, f"Version {number}")


def _letter(line: Line, name: str) -> Sentence:
    of = line.details
    mark: list[str | Piece] = (
        [" (", code(short_fingerprint(line.entry.fingerprint)), ")"] if line.entry.fingerprint else []
    )
    if line.is_redacted:
        return sentence(name, *mark, ", seen ", line.entry.at, ": its details were removed.")
    subject: list[str | Piece] = [" “", theirs(of["subject"]), "”"] if of.get("subject") else [" without a subject"]
    to = addresses_of(of.get("to") or of.get("recipients", ""))
    pieces: list[str | Piece] = [name, *mark, ":", *subject]
    pieces += [", from ", *_sender(of["sender"])] if of.get("sender") else []
    pieces += [", to ", *listed(to)] if to else [", to nobody that was told"]
    for label in ("cc", "bcc"):
        pieces += [f", {label} ", *listed(addresses_of(of[label]))] if of.get(label) else []
    pieces += [", answers to ", theirs(of["reply_to"])] if of.get("reply_to") else []
    files = lines_of(of.get("attachments", ""))
    pieces += [f", with {len(files)} file{'' if len(files) == 1 else 's'}: ", *listed(files)] if files else []
    pieces += [", to leave at ", theirs(of["send_at"])] if of.get("send_at") else []
    hidden = f". MultiMail did not show: {of['not_shown'].replace('_', ' ')}" if of.get("not_shown") else ""
    return sentence(*pieces, f"{hidden}.")


def _sender(text: str) -> list[str | Piece]:
    """Set the address apart from the name, which may look like another address."""
    name, _, address = text.rpartition(" ")
    return [theirs(name), " (", code(address), ")"] if name and "@" in address else [theirs(text)]


@dataclass(frozen=True)
class Started:
    """What the first chapter tells: names and values, each with what it rests on, and the entry that tells them."""

    line: Line
    facts: tuple[tuple[str, str, str], ...]


def started_by(lines: Sequence[Line]) -> Started:
    """Return what the first entries tell of where the message came from."""
    line = next((one for one in lines if one.trigger), lines[0])
    trigger = line.trigger
    commanded = _commanded(lines)
    facts = [
        (name, trigger[key], _PROVED if _is_signed(key, trigger, commanded) else _SAYS)
        for key, name in _NAMES.items()
        if trigger.get(key)
    ]
    facts += [(name.replace("_", " "), value, _SAYS) for name, value in trigger.items() if name not in _NAMES]
    for name, words in (("key", "API key"), ("sender", "From")):
        if value := next((one.details[name] for one in lines if one.details.get(name)), ""):
            facts.append((words, value, _PROVED if name == "key" else ""))
    return Started(line, tuple(facts))

"""Who decided about a message and what stood before them, as its entries tell."""

from collections.abc import Iterator, Sequence

from audit.trail import Line
from audit.trail.sentences import Piece, Sentence, code, lasted, lines_of, listed, sentence, theirs
from common.fingerprint import short_fingerprint

DID = {"approve": "approved", "reject": "rejected", "send_back": "sent back for changes"}
SURFACES = {"web": "the desk's pages", "discord": "Discord", "api": "the API", "webhook": "a webhook"}


def who_decided(lines: Sequence[Line]) -> Iterator[Sentence]:
    """Yield every verdict, every rule's decision, who took one back, and who was refused one."""
    given = 0
    for line in lines:
        action, of = line.entry.action, line.details
        if action == "verdict.given":
            given += 1
            yield _verdict(line)
            yield from _signed(line)
        elif action == "decision.recorded" and line.entry.actor_kind != "person":
            given += 1
            rule = [" by the rule “", theirs(of["rule"]), "”"] if of.get("rule") else [" by a rule"]
            yield sentence("The desk itself ", DID.get(of.get("outcome", ""), "decided"), " it", *rule, ", ",
                           line.entry.at, *_reason(of), ".")  # fmt: skip
        elif action == "decision.undone":
            yield sentence(theirs(line.actor), " took the decision back, ", line.entry.at, ".")
        elif action == "verdict.refused":
            yield sentence(theirs(line.actor), " wanted to decide and was refused, ", line.entry.at, ": ",
                           theirs(of.get("explanation", "why was removed")))  # fmt: skip
        elif action == "interaction.refused":
            yield sentence(theirs(line.actor), " pressed a button on Discord and was refused, ", line.entry.at, ": ",
                           theirs(of.get("explanation", "why was removed")))  # fmt: skip
            yield from _signed(line)
    if not given:
        yield _by_others(lines)


def _verdict(line: Line) -> Sentence:
    of = line.details
    version: list[str | Piece] = [f" version {of['version']}"] if of.get("version") else [" it"]
    mark: list[str | Piece] = (
        [" (", code(short_fingerprint(line.entry.fingerprint)), ")"] if line.entry.fingerprint else []
    )
    outcome = DID.get(of.get("outcome", ""), "gave a verdict on")
    way = f", through {SURFACES.get(line.entry.surface, line.entry.surface)}"
    where: list[str | Piece] = [", from the address ", code(of["address"])] if of.get("address") else []
    # Discord tells no address of whoever presses there.
    if not where and line.entry.surface != "discord":
        where = [", from where is not known"]
    many = ", with others on one sheet" if of.get("sheet") else ""
    return sentence(
        theirs(line.actor), " ", outcome, *version, *mark, ", ", line.entry.at, way, *where, many, *_reason(of), ".",
        verdict=of.get("verdict", ""),
    )  # fmt: skip


def _signed(line: Line) -> Iterator[Sentence]:
    """Yield who it was on Discord: its signature proves that."""
    of = line.details
    if of.get("interaction"):
        number = of.get("discord_id", "")
        who = [theirs(of["discord"]), " (", code(number), ")"] if of.get("discord") else [code(number)]
        yield sentence(
            "The Discord user ", *who, " pressed, with the interaction ", code(of["interaction"]),
            ": Discord signed it.", standing="proved",
        )  # fmt: skip


def _reason(of: dict[str, str]) -> list[str | Piece]:
    return [". Reason: “", theirs(of["reason"]), "”"] if of.get("reason") else []


def _by_others(lines: Sequence[Line]) -> Sentence:
    told = next((one for one in lines if one.entry.action in ("message.approved", "message.rejected")), None)
    if told is not None:
        how = told.entry.action.removeprefix("message.")
        return sentence("Nobody decided it on this desk. MultiMail reported it as ", how, ", ", told.entry.at,
                        *_reason(told.details), ".")  # fmt: skip
    actions = {line.entry.action for line in lines}
    if "message.gone" in actions:
        return sentence("Nobody decided it on this desk. MultiMail no longer holds it, and does not tell who did.")
    if "message.held" not in actions:
        return sentence("Nobody: it was never held for a decision.")
    return sentence("Nobody has decided it.")


def what_they_saw(lines: Sequence[Line]) -> Iterator[Sentence]:
    """Yield for each verdict what its giver had before them, and who else opened the message."""
    deciders = set()
    for line in lines:
        if line.entry.action == "verdict.given":
            deciders.add(line.entry.actor_id)
            yield from _seen(line, lines)
    readers = [one for one in lines if one.entry.action == "message.opened" and one.entry.actor_id not in deciders]
    for name in dict.fromkeys(one.actor for one in readers):
        first = next(one for one in readers if one.actor == name)
        yield sentence(theirs(name), " opened it, ", first.entry.at, ", and gave no verdict.")
    if not deciders and not readers:
        yield sentence("Nobody opened it on this desk.")


def _seen(verdict: Line, lines: Sequence[Line]) -> Iterator[Sentence]:
    of, entry = verdict.details, verdict.entry
    same = (entry.actor_id, entry.fingerprint)
    opened = [
        one for one in lines
        if one.entry.action == "message.opened" and (one.entry.actor_id, one.entry.fingerprint) == same
        and one.entry.pk < entry.pk
    ]  # fmt: skip
    who = theirs(verdict.actor)
    on_card = entry.surface == "discord" and not opened
    if on_card:
        yield sentence(who, " pressed a button under its card in Discord, and had not opened that version on the desk.")
    elif opened:
        seconds = of.get("seconds_shown") or str(int((entry.at - opened[0].entry.at).total_seconds()))
        yield sentence(who, " had that version on screen from ", opened[0].entry.at, ", ", lasted(float(seconds)),
                       " before deciding.", verdict=of.get("verdict", ""))  # fmt: skip
    else:
        yield sentence(who, " never had that version open on the desk, as far as was noted.")
    if verdict.is_redacted:
        yield sentence("What else ", who, " was shown was removed with the personal details.")
        return
    unread = of.get("parts_unread", "")
    if on_card and unread:
        yield sentence("The card does not show these parts of it: ", theirs(unread), ".")
    elif on_card:
        yield sentence("The card shows whom it is from and to, and not its text.")
    elif unread:
        yield sentence("They had not opened these parts of its page: ", theirs(unread), ".")
    else:
        yield sentence("No part of its page was left unopened.")
    if "risk" not in of:
        yield sentence("What was found in it, and what the ruling was, was not kept then.")
        return
    found = lines_of(of.get("findings", ""))
    yield sentence(
        f"{'Known of it were' if on_card else 'The page showed'} {len(found) or 'no'} "
        f"finding{'' if len(found) == 1 else 's'}, risk {of['risk']}",
        *((": ", *listed(found, most=20)) if found else ()), ".",
    )  # fmt: skip
    yield sentence("The ruling told them: “", *listed(lines_of(of.get("ruling", ""))), "”")

"""Gathers the facts about a message and a person, and lets `policy.evaluation` rule on them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from django.db.models import Q

from approvals.commanded import CommandedMail
from approvals.decisions.demands import demand_of, demand_parts, demands_for, with_possible
from approvals.errors import ContentChanged, VerdictNotAllowed
from approvals.models import Replacement
from common.fingerprint import short_fingerprint
from common.postgres.statements import ANY, ANY_ID, ASKING, RowQuery, ValueQuery, first_of, list_of, read_values
from mirror.models import AttachedFile, Message
from mirror.querysets.messages import anybody_like, asked_by
from mirror.recipients import UNSEEN
from mirror.states import MessageState
from people.actors import Actor, Role
from policy.allowlists.applicable import applying_part, judge_by, judge_messages
from policy.allowlists.judgement import OFF, Judgement, allowable
from policy.evaluation import Ruling, RulingFacts, rule
from policy.models import KeyOwner, KillSwitch
from policy.rules.demand import Demand
from rendering import named

# Placeholders for a message's values while a statement is composed.
_CONNECTION, _MAILBOX = ASKING + 1, ASKING + 2
_KEY, _MESSAGE, _INTERACTION, _EDIT = "{key}", "{message}", "{interaction}", "{edit}"
# The entry of a message's metadata that names the edit that made it.
EDIT = "countersign_edit"
# How much of an address a sentence shows.
_LONGEST = 254
_NO_CONTACTS = "Its contacts could not be read, so no recipient counts as known: the connection needs a read key."


def ruling_for(
    message: Message,
    *,
    actor: Actor,
    now: datetime | None = None,
    facts: Mapping[str, Any] | None = None,
    is_decided: bool = False,
) -> Ruling:
    """Return what the rules say about this person deciding this message.

    For a decision no `now` is given, so that the database's clock counts: a host's wrong clock must not expire a
    message early or keep an allowlist entry alive. `facts` are the values of `deciding_parts`, where the caller has
    read them already. `is_decided`: the approvals are there, and are asked again before they are carried out.
    """
    return ruled(message, actor=actor, now=now, facts=facts, is_decided=is_decided)[0]


def ruled(
    message: Message,
    *,
    actor: Actor,
    now: datetime | None = None,
    facts: Mapping[str, Any] | None = None,
    files: Sequence[AttachedFile] | None = None,
    is_decided: bool = False,
) -> tuple[Ruling, Judgement]:
    """Return the ruling and what the allowlists say about each recipient, now or at another time.

    `facts` are the values of `deciding_parts`, where the caller has read them already; with the attached `files`, those
    of `ruling_parts` are enough.
    """
    if facts is None:
        facts = read_values(deciding_parts(message, actor=actor))
    now = now or facts["clock"]
    assert now is not None, "every composed statement has the time"
    judged = judge_by(facts["lists"], message, now=now)
    switches = KillSwitch.objects.filter(pk__in=facts["stop"]).select_related("pulled_by") if facts["stop"] else None
    authors = {message.pk: {str(one) for name in ("owner", "commander", "first_authors") for one in facts[name] or ()}}
    editors = {message.pk: set(map(str, facts["editors"] or ()))}
    if files is None:
        differing = {message.revision_id or 0: tuple(named(name)[:80] for name in facts["differing"] or ())}
    else:
        differing = _first_names(files)
    stop = switches.first() if switches is not None else None
    barred = {"authors": authors[message.pk], "editors": _barred_editors(message, editors)}
    demand = demand_of(message, facts, actor=actor, now=now, is_decided=is_decided, **barred)
    demand = with_possible(message, demand)
    known: dict[str, Any] = {"stop": stop, "files": differing, "judged": judged, "authors": authors, "editors": editors}
    return rule(_facts(message, actor, now, demand=demand, **known)), judged


def deciding_parts(message: Message, *, actor: Actor) -> dict[str, ValueQuery]:
    """Return the queries for all that the ruling on a message and a person is based on."""
    return ruling_parts(message, actor=actor) | _files_part(message)


def ruling_parts(message: Message, *, actor: Actor) -> dict[str, ValueQuery]:
    """Return the queries for kill switches, allowlists, the policy, and a message's authors, editors and approvals."""
    key = message.sent_by_key if message.sent_by_key and _proves(message) else ""
    interaction, edit = _interaction_of(message), edit_of(message)
    has = (bool(key), bool(message.upstream_id), bool(interaction), bool(edit))
    parts = _ruling_parts(message.mailbox_id is not None, *has)
    named: dict[Any, Any] = {_CONNECTION: message.connection_id, _MAILBOX: message.mailbox_id}
    named |= {_KEY: key, _MESSAGE: message.upstream_id, _INTERACTION: interaction, _EDIT: edit}
    own = {name: part.with_values(named) for name, part in parts.items()}
    return {"lists": applying_part(message), **own, **demand_parts(message, actor=actor)}


@cache
def _ruling_parts(
    has_mailbox: bool, has_key: bool, has_id: bool, has_interaction: bool, has_edit: bool
) -> dict[str, ValueQuery]:
    """Return those queries for the message with these values, which are filled in later."""
    stops = KillSwitch.objects.stopping(connection=_CONNECTION, mailbox=_MAILBOX if has_mailbox else None)
    owners = KeyOwner.objects.filter(connection=_CONNECTION, upstream_key_id=_KEY)
    is_it = Q(upstream_id__in=[_MESSAGE] * has_id) | Q(interaction_id__in=[_INTERACTION] * has_interaction)
    commanders = CommandedMail.objects.filter(is_it, connection=_CONNECTION)
    edits = Replacement.objects.that_made(upstream_ids=[_MESSAGE] * has_id, references=[_EDIT] * has_edit)
    edits = edits.filter(connection=_CONNECTION)
    return {
        "stop": list_of(stops.order_by().values_list("pk")),
        "owner": list_of(owners.values_list("person_id")) if has_key else ValueQuery("NULL"),
        "commander": list_of(commanders.values_list("person_id")),
        "editors": first_of(edits.values_list("editors")),
        "last_editor": first_of(edits.values_list("person_id")),
        "first_authors": first_of(edits.values_list("authors")),
    }


def rulings_for(
    messages: Sequence[Message], *, actor: Actor, now: datetime, judged: Mapping[int, Judgement] | None = None
) -> dict[int, Ruling]:
    """Return the rulings on many messages by their keys, in a fixed number of queries.

    `judged` is what the lists say about each, where the caller has read that already.
    """
    stops = list(KillSwitch.objects.pulled().select_related("pulled_by", "mailbox").order_by("pk"))
    files, authors = _names_of_differing(messages), _authors_of(messages)
    last_editors: dict[int, int] = {}
    editors = _editors_of(messages, authors, last_editors)
    judged = judge_messages(messages, now=now) if judged is None else judged
    barred = {one.pk: _barred_editors(one, editors) for one in messages}
    people: dict[str, Any] = {"authors": authors, "editors": barred, "last_editors": last_editors}
    demands = demands_for(messages, actor=actor, now=now, **people)
    found = {}
    for one in messages:
        stop = next((switch for switch in stops if switch_stops(switch, one)), None)
        known: dict[str, Any] = {"files": files, "judged": judged[one.pk], "authors": authors, "editors": editors}
        known |= {"stop": stop, "demand": demands.get(one.pk, Demand())}
        found[one.pk] = rule(_facts(one, actor, now, **known))
    return found


def _facts(
    message: Message,
    actor: Actor,
    now: datetime,
    *,
    stop: KillSwitch | None,
    files: Mapping[int, tuple[str, ...]],
    judged: Judgement,
    authors: Mapping[int, Collection[str]],
    editors: Mapping[int, Collection[str]],
    demand: Demand,
) -> RulingFacts:
    return RulingFacts(
        is_held=message.state == MessageState.HELD,
        is_fetched=message.hydrated_at is not None,
        is_reviewer=is_reviewer(actor, message),
        is_author=actor.id in authors.get(message.pk, ()),
        is_editor=actor.id in _barred_editors(message, editors),
        is_expired=message.expires_at is not None and message.expires_at <= now,
        mailbox=str(message.mailbox or ""),
        files_that_differ=files.get(message.revision_id or 0, ()),
        stopped_by=f"{stop.pulled_by} ({stop.reason})" if stop else "",
        off_list=_shown(judged.refused),
        would_be_off_list=_shown(judged.would_be_refused),
        list_words=f"no allowlist for {message.mailbox or message.connection}" if judged.mode != OFF else "",
        list_doubt=_doubt(judged),
        can_be_allowed=any(allowable(one) for one in judged.refused),
        demand=demand,
    )


def _barred_editors(message: Message, editors: Mapping[int, Collection[str]]) -> Collection[str]:
    """Return who edited the message and may not approve it, because its mailbox wants somebody else to."""
    own_edits_count = message.mailbox is not None and message.mailbox.editor_may_approve
    return () if own_edits_count else editors.get(message.pk, ())


def _doubt(judged: Judgement) -> str:
    """Return a further explanation for recipients that the lists refuse."""
    if judged.lacks_contacts:
        return _NO_CONTACTS
    if any(one in UNSEEN.values() for one in judged.refused):
        return "With a read key the connection would show who that is."
    is_nameless = judged.refused and not any(map(allowable, judged.refused))
    return "No allowlist entry can match it: reject it or request changes." if is_nameless else ""


def _shown(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return addresses as a sentence can show them: shortened, and with nothing invisible in them."""
    return tuple(named(one)[:_LONGEST] for one in addresses)


def _authors_of(messages: Sequence[Message]) -> dict[int, set[str]]:
    """Return by message who started it: the owner of the program that sent it, and the person who gave the command."""
    owners, commanders = _owners_of(messages), _commanders_of(messages)
    return {
        one.pk: owners.get(_key_of(one), set())
        | commanders.get((one.connection_id, one.upstream_id), set())
        | commanders.get((one.connection_id, _interaction_of(one)), set())
        for one in messages
    }


def _editors_of(
    messages: Sequence[Message], authors: dict[int, set[str]], last_editors: dict[int, int]
) -> dict[int, set[str]]:
    """Return by message who edited it, and add who did so last; who started its first version joins its authors."""
    # Most lists have no edited message, and need no query.
    edited = [one for one in messages if edit_of(one)]
    if not edited:
        return {}
    made = Replacement.objects.that_made(
        upstream_ids=[one.upstream_id for one in edited], references=[edit_of(one) for one in edited]
    )
    found: dict[int, set[str]] = {}
    for row in made.filter(connection__in={one.connection_id for one in edited}):
        for one in edited:
            is_it = row.upstream_id == one.upstream_id if row.upstream_id else row.reference == edit_of(one)
            if is_it and row.connection_id == one.connection_id:
                found.setdefault(one.pk, set()).update(map(str, row.editors))
                last_editors.setdefault(one.pk, row.person_id)
                authors[one.pk] = authors.get(one.pk, set()) | set(map(str, row.authors))
    return found


def edit_of(message: Message) -> str:
    """Return the reference of the edit that the message names in its metadata, as anybody could; empty for none."""
    return str(message.trigger.get(EDIT) or "")[:24]


def _commanders_of(messages: Sequence[Message]) -> dict[tuple[int, str], set[str]]:
    """Return who gave the commands, by connection and the id of message or interaction."""
    # Most lists have no message with such a trigger, and need no query.
    asked = [one for one in messages if _interaction_of(one)]
    if not asked:
        return {}
    commanded = CommandedMail.objects.filter(_is_commanded(asked))
    found: dict[tuple[int, str], set[str]] = {}
    for connection, interaction, upstream_id, person in commanded.values_list(
        "connection_id", "interaction_id", "upstream_id", "person_id"
    ):
        for key in filter(None, (interaction, upstream_id)):
            found.setdefault((connection, key), set()).add(str(person))
    return found


def _is_commanded(messages: Sequence[Message]) -> Q:
    # Either is enough. A message that names somebody else's interaction only keeps that person from approving it.
    interactions = {found for one in messages if (found := _interaction_of(one))}
    named = Q(connection__in={one.connection_id for one in messages})
    return named & (
        Q(upstream_id__in={one.upstream_id for one in messages if one.upstream_id}) | Q(interaction_id__in=interactions)
    )


def _interaction_of(message: Message) -> str:
    return str(message.trigger.get("discord_interaction_id") or "")[:32]


def _owners_of(messages: Sequence[Message]) -> dict[tuple[int, str], set[str]]:
    """Return the owner of each program by connection and API key. Only our own gateway reports the key."""
    keys = {_key_of(one) for one in messages if one.sent_by_key and _proves(one)}
    if not keys:
        return {}
    named_by = KeyOwner.objects.filter(
        connection__in={one for one, _ in keys}, upstream_key_id__in={key for _, key in keys}
    )
    found: dict[tuple[int, str], set[str]] = {}
    for connection, key, person in named_by.values_list("connection_id", "upstream_key_id", "person_id"):
        if (connection, key) in keys:
            found.setdefault((connection, key), set()).add(str(person))
    return found


def _key_of(message: Message) -> tuple[int, str]:
    return message.connection_id, message.sent_by_key


def _proves(message: Message) -> bool:
    return message.direction == "outbound" and message.connection.is_our_gateway


def switch_stops(switch: KillSwitch, message: Message) -> bool:
    """Whether a switch stops this message, as `KillSwitchQuerySet.stopping` defines it.

    A message whose mailbox is not known is stopped with any mailbox of its connection.
    """
    if switch.mailbox is None:
        return switch.connection_id in (None, message.connection_id)
    return switch.mailbox.connection_id == message.connection_id and message.mailbox_id in (None, switch.mailbox_id)


def _names_of_differing(messages: Sequence[Message]) -> dict[int, tuple[str, ...]]:
    """Return by version the names of up to three files whose bytes are known to differ."""
    versions = [one.revision_id for one in messages if one.revision and one.revision.content.get("attachments")]
    files = AttachedFile.objects.filter(revision__in=versions).differing().without_bytes().in_order()
    return _first_names(files) if versions else {}


def _first_names(files: Iterable[AttachedFile]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for file in files:
        if file.differs:
            found[file.revision_id] = (*found.get(file.revision_id, ()), named(file.name)[:80])[:3]
    return found


def _files_part(message: Message) -> dict[str, ValueQuery]:
    """Return the query for the names of up to three files whose bytes are known to differ."""
    revision = message.revision
    if revision is None or not revision.content.get("attachments"):
        return {"differing": ValueQuery("NULL")}
    return {"differing": _differing_part().with_values({ANY: revision.pk})}


@cache
def _differing_part() -> ValueQuery:
    return list_of(AttachedFile.objects.filter(revision=ANY).differing().in_order().values_list("name")[:3])


def is_reviewer(actor: Actor, message: Message) -> bool:
    """Whether the actor is a reviewer of the message's mailbox."""
    return actor.is_a(Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id)


def content_changed(message: Message, shown: str) -> ContentChanged:
    """Return the error for a message whose content is not the one that was shown."""
    current = message.revision.fingerprint if message.revision else ""
    before, now = (short_fingerprint(one) if one else "none" for one in (shown, current))
    return ContentChanged(
        f"The message changed after you opened it: you saw {before}, now it is {now}. Read it again, then decide.",
        shown=shown,
        current=current,
    )


def lock_visible(message: UUID, *, actor: Actor) -> Message:
    """Return a message that the actor may see with its content, locked for the rest of the transaction."""
    # In two statements: rows joined in the first would be as old as before the wait for the lock, or missing if the
    # message has a new revision by then.
    locked = _visible_locked(anybody_like(actor)).first({ANY_ID: message, **asked_by(actor)})
    if locked is None:
        raise VerdictNotAllowed("This message does not exist, or you may not see it.")
    found = _with_content().first({ANY: locked.pk})
    assert found is not None, "nobody deletes a locked message"
    return found


@lru_cache(maxsize=1000)
def _visible_locked(anybody: Actor) -> RowQuery[Message]:
    # no_key: rows that refer to the message (cards, attempts) can be inserted meanwhile.
    visible = Message.objects.visible_to(anybody).select_for_update(of=("self",), no_key=True)
    return RowQuery(visible.filter(public_id=ANY_ID).only("pk"))


@cache
def _with_content() -> RowQuery[Message]:
    return RowQuery(Message.objects.with_content().select_related("connection").filter(pk=ANY))


def stop_of(message: Message) -> KillSwitch | None:
    """Return a kill switch that keeps decisions on this message from being carried out."""
    values = {_CONNECTION: message.connection_id, _MAILBOX: message.mailbox_id}
    return _first_stop(message.mailbox_id is not None).first(values)


@cache
def _first_stop(has_mailbox: bool) -> RowQuery[KillSwitch]:
    stops = KillSwitch.objects.stopping(connection=_CONNECTION, mailbox=_MAILBOX if has_mailbox else None)
    return RowQuery(stops.select_related("pulled_by").order_by("pk")[:1])

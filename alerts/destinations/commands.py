"""Adds, changes and removes the places that alerts go to. An admin of everything may: it concerns all mail."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from alerts.deliveries import waits
from alerts.destinations.described import in_words
from alerts.destinations.locked import locked
from alerts.destinations.moving import forget_failures, leave_posts
from alerts.destinations.rights import check_may_manage
from alerts.destinations.secrets import new_secret
from alerts.errors import ChannelTaken
from alerts.events import actions_of
from alerts.models import Destination, Route
from audit.recording import changed, record
from common.nudge import nudge
from common.postgres import clock
from common.postgres.anew import atomic_anew
from people.actors import Actor

_ONE_ANSWERS = "one_place_answers_a_channel"


@dataclass(frozen=True)
class Settings:
    """How a destination is set, as a form gives it. No connections: all, also those that are added later."""

    name: str
    privacy: str
    # What it is told of at first, and where; more routes can be added.
    events: Sequence[str] = ()
    connections: Collection[int] = ()
    # The ledger's newest head is posted there too.
    witnesses: bool = False
    kind: str = Destination.Kind.DISCORD_WEBHOOK
    # Of a channel that the bot posts to, its id; what began in the other one is answered there.
    channel: str = ""
    answers_channel: str = ""


@atomic_anew
def add_destination(*, settings: Settings, url: str, actor: Actor) -> Destination:
    """Add a destination, whose address a form has checked; alerts begin at once. A signed webhook gets its secret."""
    check_may_manage(actor)
    given = {"name": settings.name, "privacy": settings.privacy, "witnesses": settings.witnesses}
    signs = settings.kind == Destination.Kind.SIGNED_WEBHOOK
    with _answering_alone(settings.answers_channel):
        destination = Destination.objects.create(
            **given,
            kind=settings.kind,
            url=url,
            channel=settings.channel,
            answers_channel=settings.answers_channel,
            secret=new_secret() if signs else "",
        )
    if settings.events:
        _route(destination, settings)
    _nudge_witness(destination, was=False)
    _record("destination.added", destination, actor, before="", after=in_words(destination))
    return destination


@atomic_anew
def change_destination(*, destination_id: int, settings: Settings, url: str, actor: Actor) -> Destination:
    """Change how a destination is set, and its address where one is given: that has to be tested anew."""
    check_may_manage(actor)
    destination = locked(destination_id)
    before, was_witness = in_words(destination), destination.witnesses
    destination.name, destination.privacy, destination.witnesses = settings.name, settings.privacy, settings.witnesses
    if destination.answers_channel != settings.answers_channel:
        destination.answers_channel, destination.told_since = settings.answers_channel, clock()
    is_elsewhere = (url and url != destination.url) or (settings.channel and settings.channel != destination.channel)
    if is_elsewhere:
        destination.url, destination.tested_at, destination.posts_in = url or destination.url, None, ""
        destination.channel = settings.channel or destination.channel
        forget_failures(destination)
        # Another channel has no head yet.
        destination.witnessed_seal, destination.witnessed_at, was_witness = None, None, False
        leave_posts(destination)
    where = ["url", "channel", "answers_channel", "posts_in", "tested_at", "witnessed_seal", "witnessed_at"]
    where += ["failures", "waits_until", "told_since"]
    with _answering_alone(settings.answers_channel):
        destination.save(update_fields=["name", "privacy", "witnesses", *where])
    _nudge_witness(destination, was=was_witness)
    moved = {"webhook": "another one"} if url else {}
    _record("destination.changed", destination, actor, before=before, after=in_words(destination), **moved)
    return destination


@atomic_anew
def switch_on(*, destination_id: int, actor: Actor) -> Destination:
    """Let alerts go there again. What was given up is not made up for, and what failed before counts no more."""
    check_may_manage(actor)
    destination = locked(destination_id)
    if destination.switched_off_at:
        because = destination.switched_off_because
        destination.switched_off_at, destination.switched_off_because = None, ""
        destination.told_since = clock()
        forget_failures(destination)
        on = ["switched_off_at", "switched_off_because", "told_since"]
        destination.save(update_fields=[*on, "failures", "waits_until"])
        _nudge_witness(destination, was=False)
        _record("destination.switched_on", destination, actor, before="off", after="on", explanation=because)
    return destination


@atomic_anew
def switch_off(*, destination_id: int, actor: Actor) -> Destination:
    """Let nothing go there until somebody switches it on again; what still waits to go is given up, and kept."""
    check_may_manage(actor)
    destination = locked(destination_id)
    waits.switch_off(destination, f"{actor.label} switched it off.", actor=actor)
    nudge("alerts.tasks.drain", destination.pk)
    return destination


@atomic_anew
def remove_destination(*, destination_id: int, actor: Actor) -> Destination:
    """Take a destination off: its address is forgotten and nothing goes there. What it was told stays to be looked up.

    The posts stay in Discord: they are its channel's. The row stays too, because an act may be planning a card for it.
    """
    check_may_manage(actor)
    destination = locked(destination_id)
    before = in_words(destination)
    destination.removed_at = destination.switched_off_at = timezone.now()
    destination.url, destination.switched_off_because = "", "Somebody removed it."
    destination.secret = destination.secret_before = ""
    off = ["removed_at", "switched_off_at", "switched_off_because"]
    destination.save(update_fields=[*off, "url", "secret", "secret_before"])
    destination.routes.all().delete()
    _record("destination.removed", destination, actor, before=before, after="")
    return destination


@contextmanager
def _answering_alone(channel: str) -> Iterator[None]:
    """Save within: raises ChannelTaken where another destination answers what began in this channel.

    The constraint finds it, and waits for whoever saves the same at this moment; a look beforehand could not.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if _constraint_of(error) != _ONE_ANSWERS:
            raise
        other = Destination.objects.answering(channel).first()
        raise ChannelTaken(
            f"{other or 'Another place'} answers what began in {channel} already, and one place does. Take it off "
            "there first."
        ) from error


def _constraint_of(error: IntegrityError) -> str | None:
    return error.__cause__.diag.constraint_name if isinstance(error.__cause__, psycopg.Error) else None


def _nudge_witness(destination: Destination, *, was: bool) -> None:
    """Let a destination that became a witness have a head at once."""
    if destination.witnesses and not was:
        Destination.objects.filter(pk=destination.pk).update(witness_due_at=Now())
        nudge("alerts.tasks.witness", destination.pk)


def _route(destination: Destination, settings: Settings) -> None:
    wanted: list[int | None] = [*dict.fromkeys(settings.connections)] or [None]
    actions = actions_of(settings.events)
    Route.objects.bulk_create(Route(destination=destination, connection_id=key, actions=actions) for key in wanted)


def _record(action: str, destination: Destination, actor: Actor, *, before: str, after: str, **more: str) -> None:
    details = {"destination": destination.name, **more, **changed(before=before, after=after)}
    record(action, actor=actor, details=details)

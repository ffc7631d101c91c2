"""The commands that add, change, test, switch and remove destinations and their routes.
Only an admin of everything may run them, because alerts are about all mail.

A command that is decorated with `second_admin` may have to wait for a second admin. It
checks the change, yields a description of it, and then makes the change. If it has to
wait it ends at the `yield`, and is called again when the second admin has accepted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts import tasks
from alerts.channels import DEFAULT_KIND, channel_of
from alerts.channels.base import TestResult
from alerts.deliveries import waits
from alerts.destinations.wording import describe, sentence
from alerts.errors import DestinationMissing, DestinationNotAllowed, NotChanged
from alerts.ledger_events import actions_of
from alerts.models import Card, Delivery, Destination, Digest, Route
from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry, clock
from mirror.models import Connection
from mirror.states import MessageState
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin

# The constraint of Destination that `_answering_alone` turns into a sentence.
_ONE_ANSWERS = "one_place_answers_a_channel"
# The time limit of a test: short, because a person waits for the page.
TEST_SECONDS = 4.0
# How long events are signed with the old secret too, after a new one was made.
OVERLAP = timedelta(days=1)
# Where a destination's posts go: if one of these changes, it has to be tested again.
_address_parts = attrgetter("url", "channel", "secret")


@dataclass(frozen=True)
class Settings:
    """A destination's settings as the form returns them."""

    name: str
    privacy: str
    # The first routes of a new destination: events, and keys of connections. No
    # connections means all, also those added later.
    events: Sequence[str] = ()
    connections: Sequence[int] = ()
    # Whether checkpoints of the ledger are posted there.
    witnesses: bool = False
    kind: str = DEFAULT_KIND
    # The id of the channel that a bot posts to; and the channel whose commands are
    # answered at this destination.
    channel: str = ""
    answers_channel: str = ""
    # The role or group that is mentioned when a message is late.
    mentions: str = ""
    # Both are secrets: the address of a webhook, and a bot's token.
    url: str = ""
    secret: str = ""


def may_manage(actor: Actor) -> bool:
    """Whether the actor may add, change and remove destinations."""
    return actor.is_admin_of_all


def check_may_manage(actor: Actor) -> None:
    """Raise DestinationNotAllowed if the actor may not manage destinations."""
    if not may_manage(actor):
        raise DestinationNotAllowed(
            "Only an admin of everything can set where alerts go."
        )


def managed_destination(destination_id: int, actor: Actor) -> Destination:
    """Return a destination that the actor may change, locked for this transaction.
    Deliveries can still be planned for it.

    Raises DestinationNotAllowed and DestinationMissing.
    """
    check_may_manage(actor)
    destination = (
        Destination.objects.not_removed().locked().filter(pk=destination_id).first()
    )
    if destination is None:
        raise DestinationMissing("This destination was removed in the meantime.")
    return destination


@atomic_with_retry
@second_admin(
    "Destination",
    secrets=("settings",),
    # A secret that the admin typed is not shown again.
    made=lambda destination: (
        destination.secret if channel_of(destination.kind).makes_secret else ""
    ),
)
def add_destination(*, settings: Settings, actor: Actor) -> CanWait[Destination]:
    """Add a destination; alerts go there at once. The form has checked its address. If
    the desk makes the secret of this kind, the destination gets a new one.
    """
    check_may_manage(actor)
    connections = Connection.objects.filter(pk__in=settings.connections)
    in_words = {
        "url": "",
        "secret": "",
        "address": urlsplit(settings.url).hostname,
        "connections": list(connections.values_list("name", flat=True))
        or "all, also those added later",
    }
    yield lambda: ChangeInWords(
        title=f"Destination {settings.name}: add it",
        before="no such destination",
        after=listed(vars(settings) | in_words),
        page=reverse("alerts"),
    )
    with _answering_alone(settings.answers_channel):
        destination = Destination.objects.create(
            kind=settings.kind,
            name=settings.name,
            url=settings.url,
            channel=settings.channel,
            secret=settings.secret or channel_of(settings.kind).new_secret(),
            answers_channel=settings.answers_channel,
            mentions=settings.mentions,
            privacy=settings.privacy,
            witnesses=settings.witnesses,
        )
    if settings.events:
        connection_ids: list[int | None] = [*dict.fromkeys(settings.connections)] or [
            None
        ]
        actions = actions_of(settings.events)
        Route.objects.bulk_create(
            Route(destination=destination, connection_id=key, actions=actions)
            for key in connection_ids
        )
    _enqueue_head(destination, was_witness=False)
    waits.record_change(
        "destination.added", destination, actor, before="", after=describe(destination)
    )
    return destination


def _in_words(destination: Destination, did: str, **arguments: Any) -> ChangeInWords:
    """Describe a change of a destination to the second admin. `did` says what the
    command does; the arguments must not contain secrets.
    """
    return ChangeInWords(
        title=f"{destination}: {did}",
        before=describe(destination),
        after=listed(arguments) or did,
        page=reverse("destination", args=[destination.pk]),
    )


@atomic_with_retry
@second_admin("Destination", secrets=("settings",))
def change_destination(
    *, destination_id: int, settings: Settings, actor: Actor
) -> CanWait[Destination]:
    """Change a destination's settings. If the settings have a new address, channel or
    token, it has to be tested again, and gets new posts.
    """
    destination = managed_destination(destination_id, actor)
    address = "another one" if settings.url or settings.secret else ""
    if settings.url:
        address = f"another one, at {urlsplit(settings.url).hostname}"
    hidden = {"url": "", "secret": "", "address": address}
    yield lambda: _in_words(destination, "change it", **vars(settings) | hidden)
    before = describe(destination)
    was_witness = destination.witnesses
    destination.name = settings.name
    destination.privacy = settings.privacy
    destination.mentions = settings.mentions
    destination.witnesses = settings.witnesses
    if destination.answers_channel != settings.answers_channel:
        destination.answers_channel = settings.answers_channel
        destination.told_since = clock()
    old_address = _address_parts(destination)
    destination.url = settings.url or destination.url
    destination.channel = settings.channel
    destination.secret = settings.secret or destination.secret
    if _address_parts(destination) != old_address:
        destination.tested_at = None
        destination.posts_in = ""
        _reset_failures(destination)
        # No checkpoint was posted at the new address yet.
        destination.witnessed_seal = None
        destination.witnessed_at = None
        was_witness = False
        # Posts at the old address cannot be edited from the new one. Held messages and
        # connections get a new card at the new address when something happens to them
        # next, and what waits to be posted is posted there; the other cards are not
        # edited any more.
        cards = Card.objects.filter(destination=destination, removed=False)
        is_held = Q(message__state=MessageState.HELD)
        waits_for_post = Q(
            post_id="",
            pk__in=Delivery.objects.unfinished()
            .filter(destination=destination, card__isnull=False)
            .values("card"),
        )
        goes_on = is_held | waits_for_post | Q(is_answer=True)
        goes_on |= Q(about__startswith="connection/")
        cards.exclude(goes_on).update(removed=True)
        cards.filter(goes_on).update(post_id="", digest=None, revision_shown=None)
        Digest.objects.filter(destination=destination).update(removed=True)
    with _answering_alone(settings.answers_channel):
        destination.save()
    _enqueue_head(destination, was_witness=was_witness)
    address_note = {"webhook": "another one"} if settings.url else {}
    waits.record_change(
        "destination.changed",
        destination,
        actor,
        before=before,
        after=describe(destination),
        **address_note,
    )
    return destination


@atomic_with_retry
@second_admin("Destination")
def switch_on(*, destination_id: int, actor: Actor) -> CanWait[Destination]:
    """Switch a destination on again, and reset its failures. Deliveries that were given
    up meanwhile are not sent.
    """
    destination = managed_destination(destination_id, actor)
    yield lambda: _in_words(destination, "switch it on")
    if destination.switched_off_at:
        because = destination.switched_off_because
        destination.switched_off_at = None
        destination.switched_off_because = ""
        destination.told_since = clock()
        _reset_failures(destination)
        destination.save()
        _enqueue_head(destination, was_witness=False)
        waits.record_change(
            "destination.switched_on",
            destination,
            actor,
            before="off",
            after="on",
            explanation=because,
        )
    return destination


@atomic_with_retry
@second_admin("Destination")
def switch_off(*, destination_id: int, actor: Actor) -> CanWait[Destination]:
    """Switch a destination off. Its due deliveries are given up, and stay in the log."""
    destination = managed_destination(destination_id, actor)
    yield lambda: _in_words(destination, "switch it off")
    waits.switch_off(destination, f"{actor.label} switched it off.", actor=actor)
    tasks.drain.delay_on_commit(destination.pk)
    return destination


@atomic_with_retry
@second_admin("Destination")
def remove_destination(*, destination_id: int, actor: Actor) -> CanWait[Destination]:
    """Remove a destination: its address and secrets are deleted, and nothing is sent
    there any more. Its posts stay in their channel, and its deliveries in the log.

    Its row stays too, because a card may be planned for it at this moment.
    """
    destination = managed_destination(destination_id, actor)
    yield lambda: _in_words(destination, "remove it")
    before = describe(destination)
    destination.removed_at = timezone.now()
    destination.switched_off_at = destination.removed_at
    destination.switched_off_because = "Somebody removed it."
    destination.url = ""
    destination.secret = ""
    destination.secret_before = ""
    destination.save()
    destination.routes.all().delete()
    waits.record_change(
        "destination.removed", destination, actor, before=before, after=""
    )
    return destination


@atomic_with_retry
@second_admin("Destination", made=str)
def rotate_secret(
    *, destination_id: int, actor: Actor, overlap: timedelta = OVERLAP
) -> CanWait[str]:
    """Sign events with a new secret from now on, and return it, to be shown once. Until
    the overlap is over, events are signed with the old secret too.

    If the old secret leaked, the overlap is zero, and the old secret is not used any
    more. Raises NotChanged while an earlier overlap lasts: with a third secret, the one
    that the receiver still uses could become invalid.
    """
    destination = managed_destination(destination_id, actor)
    yield lambda: _in_words(destination, "make another secret", overlap=overlap)
    channel = channel_of(destination.kind)
    if not channel.makes_secret:
        raise DestinationMissing("This destination has no secret.")
    now = clock()
    until = destination.secret_before_until
    if overlap and destination.secret_before and until and until > now:
        raise NotChanged(
            f"The previous secret is valid until {until:%-d %b, %H:%M} UTC. Wait until then, or choose that the old "
            "one leaked."
        )
    destination.secret_before = destination.secret if overlap else ""
    destination.secret_before_until = now + overlap if overlap else None
    secret = channel.new_secret()
    destination.secret = secret
    destination.save()
    after = "a new one alone"
    if overlap:
        after = (
            f"a new one; the old one signs too until {now + overlap:%Y-%m-%d %H:%M} UTC"
        )
    waits.record_change(
        "destination.secret_rotated",
        destination,
        actor,
        before="one secret signs",
        after=after,
    )
    return secret


@atomic_with_retry
@second_admin("Destination")
def add_route(
    *,
    destination_id: int,
    events: Sequence[str],
    connection: int | None = None,
    mailbox: int | None = None,
    actor: Actor,
) -> CanWait[Route]:
    """Add a route: for these events in one connection or one mailbox, or without both
    in all connections. Raises NotChanged if an existing route has all its events.
    """
    destination = managed_destination(destination_id, actor)
    actions = actions_of(events)
    wanted = Route(actions=actions, connection_id=connection, mailbox_id=mailbox)
    yield lambda: _in_words(destination, "add a route", route=sentence(wanted))
    routes = destination.routes.filter(connection=connection, mailbox=mailbox)
    existing = routes.filter(actions__contains=actions).first()
    if existing is not None:
        raise NotChanged(f"This route exists already: {sentence(existing)}.")
    added = destination.routes.create(
        connection_id=connection, mailbox_id=mailbox, actions=actions
    )
    waits.record_change(
        "destination.route_added",
        destination,
        actor,
        before="",
        after=f"notified when {sentence(added)}",
    )
    return added


@atomic_with_retry
@second_admin("Destination")
def remove_route(*, destination_id: int, route_id: int, actor: Actor) -> CanWait[None]:
    """Remove a route. Existing cards are still edited when their message changes."""
    destination = managed_destination(destination_id, actor)
    routes = destination.routes.select_related("connection", "mailbox")
    route = routes.filter(pk=route_id).first()
    if route is None:
        raise DestinationMissing("This route was removed in the meantime.")
    yield lambda: _in_words(destination, "remove a route", route=sentence(route))
    waits.record_change(
        "destination.route_removed",
        destination,
        actor,
        before=f"notified when {sentence(route)}",
        after="",
    )
    route.delete()


def test_destination(*, destination_id: int, actor: Actor) -> TestResult:
    """Post a test, and return whether it was accepted, with a sentence. The post is
    made outside of any transaction, and takes TEST_SECONDS at most.
    """
    check_may_manage(actor)
    destination = Destination.objects.not_removed().filter(pk=destination_id).first()
    if destination is None:
        raise DestinationMissing("This destination was removed in the meantime.")
    result = channel_of(destination.kind).test(destination, within=TEST_SECONDS)
    with transaction.atomic():
        # A destination whose address changed meanwhile has not been tested.
        current = Destination.objects.filter(pk=destination_id).first()
        if (
            result.accepted
            and current
            and _address_parts(current) == _address_parts(destination)
        ):
            Destination.objects.filter(pk=destination_id).update(
                tested_at=Now(), posts_in=result.channel
            )
        details = {
            "destination": destination.name,
            "took": "yes" if result.accepted else "no",
            "answer": result.sentence,
        }
        record("destination.tested", actor=actor, details=details)
    return result


def ways_of(actor: Actor) -> list[Destination]:
    """Return the ways to the actor, mail first, and if they may manage destinations,
    each of these.
    """
    person = Person.objects.get(pk=int(actor.id))
    own = Destination.objects.filter(owner=person)
    mail = own.filter(kind="email").first() or Destination(owner=person, kind="email")
    browsers = own.filter(kind="web_push", switched_off_at=None).order_by("pk")
    shared = Destination.objects.for_list() if may_manage(actor) else ()
    return [mail, *browsers, *shared]


def test_way(*, way: Destination, actor: Actor) -> TestResult:
    """Send a test to a way of `ways_of`, and return what happened."""
    if way.owner:
        return channel_of(way.kind).test(way, within=TEST_SECONDS)
    return test_destination(destination_id=way.pk, actor=actor)


def _reset_failures(destination: Destination) -> None:
    """Reset the failures of a destination, with the wait that they caused, so that the
    next attempt is made at once. The caller saves it.
    """
    if destination.failures:
        destination.failures = 0
        destination.waits_until = None


@contextmanager
def _answering_alone(channel: str) -> Iterator[None]:
    """A block to save a destination in. Raises NotChanged if another destination
    already answers commands from this channel.

    The database's constraint detects this even if another transaction saves at the same
    moment, which a query would not see.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        cause = error.__cause__
        if (
            not isinstance(cause, psycopg.Error)
            or cause.diag.constraint_name != _ONE_ANSWERS
        ):
            raise
        other = Destination.objects.answering(channel).first()
        raise NotChanged(
            f"{other or 'Another destination'} already answers requests from {channel}, and only one destination can. "
            f"Remove it there first."
        ) from error


def _enqueue_head(destination: Destination, *, was_witness: bool) -> None:
    """Have a checkpoint posted at once to a destination that became a witness."""
    if destination.witnesses and not was_witness:
        Destination.objects.filter(pk=destination.pk).update(witness_due_at=Now())
        tasks.witness.delay_on_commit()

"""The commands that add, change, test, switch and remove destinations and their routes.
Only an admin of everything may run them, because alerts are about all mail.

A command that is decorated with `second_admin` may have to wait for a second admin. It
checks the change, yields a description of it, and then makes the change. If it has to
wait it ends at the `yield`, and is called again when the second admin has accepted.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts import tasks
from alerts.channels import channel_of
from alerts.channels.base import TestResult
from alerts.channels.email import EmailChannel
from alerts.deliveries import waits
from alerts.destinations.browsers import browsers_of
from alerts.destinations.wording import describe, sentence
from alerts.errors import DestinationMissing, NotChanged
from alerts.ledger_events import actions_of
from alerts.models import Card, Delivery, Destination, Route
from audit.recording import record
from common.actors import Actor
from common.pages import only_for
from common.postgres import atomic_with_retry, clock
from common.time_zones import day_and_time
from mirror.states import MessageState
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin

# The time limit of a test: short, because a person waits for the page.
TEST_SECONDS = 4.0
# How long events are signed with the old secret too, after a new one was made.
OVERLAP = timedelta(days=1)

# A destination's columns and, of a new one, `events` and `place` of its first route, as
# `add_route` takes them.
Settings = Mapping[str, Any]
_COLUMNS = "kind name url channel secret answers_channel mentions privacy".split()


def check_may_manage(actor: Actor) -> None:
    """Raise PermissionDenied if the actor may not manage destinations."""
    only_for("an admin of everything", actor.is_admin_of_all)


def managed_destination(destination_id: int, actor: Actor) -> Destination:
    """Return a destination that the actor may change, locked for this transaction.
    Deliveries can still be planned for it.

    Raises PermissionDenied and DestinationMissing.
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
    destination = Destination()
    route = Route(actions=actions_of(settings["events"]), **settings["place"])
    yield lambda: ChangeInWords(
        title=f"Destination {settings['name']}: add it",
        before="no such destination",
        after=listed(_without_secrets(settings) | {"route": sentence(route)}),
        page=reverse("alerts"),
    )
    for name in _COLUMNS:
        setattr(destination, name, settings.get(name, getattr(destination, name)))
    destination.secret = destination.secret or channel_of(destination.kind).new_secret()
    _save(destination)
    if route.actions:
        route.destination = destination
        route.save()
    waits.record_change(
        "destination.added", destination, actor, "", describe(destination)
    )
    return destination


def _without_secrets(settings: Settings) -> dict[str, Any]:
    """Return the columns to show, with only the host of the address."""
    host = urlsplit(settings.get("url", "")).hostname
    address = f"another one, at {host}" if host else ""
    if settings.get("secret") and not address:
        address = "another one"
    hidden = dict.fromkeys(["url", "secret", "events", "place"])
    return {**settings, **hidden, "address": address}


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
    yield lambda: _in_words(destination, "change it", **_without_secrets(settings))
    before = describe(destination)
    old_address = destination.address_parts
    if destination.answers_channel != settings.get("answers_channel", ""):
        destination.told_since = clock()
    for name in set(_COLUMNS) - {"kind"}:
        # A secret that was left empty stays.
        if (value := settings.get(name, "")) or name not in ("url", "secret"):
            setattr(destination, name, value)
    if destination.address_parts != old_address:
        destination.tested_at = None
        _reset_failures(destination)
        _begin_new_posts(destination)
    _save(destination)
    address_note = {"webhook": "another one"} if settings.get("url") else {}
    waits.record_change(
        "destination.changed",
        destination,
        actor,
        before,
        describe(destination),
        **address_note,
    )
    return destination


def _begin_new_posts(destination: Destination) -> None:
    """Give up the posts at an old address, which cannot be edited from the new one. Held
    messages and connections get a new card there when something happens to them next,
    and what waits to be posted is posted there; the other cards are not edited any more.
    """
    cards = Card.objects.filter(destination=destination, removed=False)
    waiting = Delivery.objects.unfinished().filter(destination=destination)
    goes_on = Q(message__state=MessageState.HELD)
    goes_on |= Q(post_id="", pk__in=waiting.exclude(card=None).values("card"))
    goes_on |= Q(about__startswith="connection/")
    goes_on &= ~Q(about__startswith="digest/")
    cards.exclude(goes_on).update(removed=True)
    cards.filter(goes_on).update(post_id="", digest=None, revision_shown=None)


@atomic_with_retry
@second_admin("Destination")
def switch_on(*, destination_id: int, actor: Actor) -> CanWait[Destination]:
    """Switch a destination on again, and reset its failures. Deliveries that were given
    up meanwhile are not sent.
    """
    destination = managed_destination(destination_id, actor)
    yield lambda: _in_words(destination, "switch it on")
    _switch_on(destination, actor)
    return destination


@transaction.atomic
def mail_again(actor: Actor) -> None:
    """Mail a person again, to whom mail had come back."""
    own = Destination.objects.filter(owner=actor.person_id, kind=EmailChannel.kind)
    for one in own.select_for_update(no_key=True):
        _switch_on(one, actor)


def _switch_on(destination: Destination, actor: Actor) -> None:
    if destination.switched_off_at is None:
        return
    because = destination.switched_off_because
    destination.switched_off_at = None
    destination.switched_off_because = ""
    destination.told_since = clock()
    _reset_failures(destination)
    destination.save()
    waits.record_change(
        "destination.switched_on",
        destination,
        actor,
        "off",
        "on",
        explanation=because,
    )


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
    waits.record_change("destination.removed", destination, actor, before, "")
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
            f"The previous secret is valid until {day_and_time(until)}. Wait until then, or choose that the old "
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
        "destination.secret_rotated", destination, actor, "one secret signs", after
    )
    return secret


@atomic_with_retry
@second_admin("Destination")
def add_route(
    *,
    destination_id: int,
    events: Sequence[str],
    place: Mapping[str, int],
    actor: Actor,
) -> CanWait[Route]:
    """Add a route: for these events in one connection (`place` is {"connection_id": 4})
    or one mailbox, or in all connections. Raises NotChanged if an existing route has
    all its events.
    """
    destination = managed_destination(destination_id, actor)
    added = Route(destination=destination, actions=actions_of(events), **place)
    yield lambda: _in_words(destination, "add a route", route=sentence(added))
    existing = destination.routes.filter(
        connection=added.connection_id,
        mailbox=added.mailbox_id,
        actions__contains=added.actions,
    ).first()
    if existing is not None:
        raise NotChanged(f"This route exists already: {sentence(existing)}.")
    added.save()
    waits.record_change(
        "destination.route_added",
        destination,
        actor,
        "",
        f"notified when {sentence(added)}",
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
        f"notified when {sentence(route)}",
        "",
    )
    route.delete()


def test_destination(*, destination_id: int, actor: Actor) -> TestResult:
    """Post a test, and return whether it was accepted, with a sentence. The post is
    made outside of any transaction, and takes TEST_SECONDS at most.
    """
    with transaction.atomic():
        destination = managed_destination(destination_id, actor)
    result = channel_of(destination.kind).test(destination, within=TEST_SECONDS)
    with transaction.atomic():
        # A destination whose address changed meanwhile has not been tested.
        current = Destination.objects.filter(pk=destination_id).first()
        if (
            result.accepted
            and current
            and current.address_parts == destination.address_parts
        ):
            Destination.objects.filter(pk=destination_id).update(tested_at=Now())
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
    person = Person.objects.get(pk=actor.person_id)
    by_mail = Destination.objects.filter(owner=person, kind="email").first()
    mail = by_mail or Destination(owner=person, kind="email")
    shared = Destination.objects.for_list() if actor.is_admin_of_all else ()
    return [mail, *browsers_of(actor), *shared]


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


def _save(destination: Destination) -> None:
    """Save a destination. Raises NotChanged if another one already answers the commands
    of its channel: a constraint finds that, even at the same moment.
    """
    try:
        with transaction.atomic():
            destination.save()
    except IntegrityError as error:
        raise NotChanged(
            f"Another destination already answers requests from {destination.answers_channel}, and only one can. "
            "Remove it there first."
        ) from error

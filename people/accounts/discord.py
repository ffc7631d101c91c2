"""Links Discord accounts to people. The desk sends a one-time link to a Discord
account; the person who opens it, signed in, confirms that the account is theirs.
"""

from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.urls import reverse

from common.actors import Actor
from common.postgres import atomic_with_retry
from people.errors import LinkedElsewhere, LinkNotGood
from people.identities import Identities
from people.models import DiscordAccount, DiscordLink, Person
from people.roles import check_covers, lock_for, record_about
from people.tokens import hash_of, new_token

# How long a link is valid.
LASTS = timedelta(minutes=15)
MAX_NAME = 100
# How many links for one Discord account are valid at a time.
MAX_LINKS = 5
NOT_GOOD = "This link no longer works. Ask for a new one on Discord: each works once, for 15 minutes."


@atomic_with_retry
def offer_link(*, discord_id: str, name: str) -> str:
    """Return the URL of a page that links this Discord account to the signed-in person
    who confirms it.

    Show it only to that Discord account. Asking twice makes two valid links; using one
    makes the other void.
    """
    if not discord_id.isascii() or not discord_id.isdigit() or len(discord_id) > 32:
        raise ValueError("a Discord id is a number")
    offers = DiscordLink.objects.filter(discord_id=discord_id)
    valid = offers.filter(expires_at__gt=Now()).order_by("-pk")
    newest = [one.pk for one in valid[: MAX_LINKS - 1]]
    offers.exclude(pk__in=newest).delete()
    token = new_token()
    DiscordLink.objects.create(
        discord_id=discord_id,
        name=name[:MAX_NAME],
        token_hash=hash_of(token),
        expires_at=Now() + LASTS,
    )
    return f"{settings.PUBLIC_URL}{reverse('link-discord', kwargs={'token': token})}"


def read_offer(token: str) -> DiscordLink:
    """Return the valid link with this token, without using it. Raises LinkNotGood."""
    offer = DiscordLink.objects.filter(
        token_hash=hash_of(token), expires_at__gt=Now()
    ).first()
    if offer is None:
        raise LinkNotGood(NOT_GOOD)
    return offer


@atomic_with_retry
def link_account(*, actor: Actor, token: str) -> DiscordAccount:
    """Use the link with this token, and link its Discord account to the actor.

    Raises LinkNotGood, and LinkedElsewhere if the account belongs to another person, or
    if the actor may be another person: that one could act from Discord later, too.
    """
    offer = read_offer(token)
    if others := Identities().others_behind(int(actor.id)):
        raise LinkedElsewhere(
            f"Set a second factor first, under Your account: a link of {others} set your password."
        )
    still_valid = DiscordLink.objects.filter(pk=offer.pk, expires_at__gt=Now())
    if not still_valid.delete()[0]:
        raise LinkNotGood(NOT_GOOD)
    DiscordLink.objects.filter(discord_id=offer.discord_id).delete()
    try:
        with transaction.atomic():
            account, is_new = DiscordAccount.objects.get_or_create(
                discord_id=offer.discord_id,
                defaults={"person_id": int(actor.id), "name": offer.name},
            )
    except IntegrityError:
        # Two people used two links of one account at once: the first one gets it.
        account = None
    if account is None or str(account.person_id) != actor.id:
        raise LinkedElsewhere(
            f"The Discord account {offer.name or offer.discord_id} belongs to somebody else at this desk. They or an "
            "admin must unlink it first; then ask for a new link."
        )
    if not is_new and account.name != offer.name:
        DiscordAccount.objects.filter(pk=account.pk).update(name=offer.name)
    if is_new:
        _record("person.discord_linked", actor, account, after=account.discord_id)
    return account


@atomic_with_retry
def unlink_own(*, actor: Actor, account_id: int) -> bool:
    """Unlink one of the actor's own Discord accounts; False if it is not theirs, or not
    any more.
    """
    account = DiscordAccount.objects.filter(pk=account_id, person=int(actor.id)).first()
    return account is not None and _unlink(actor, account)


@atomic_with_retry
def unlink_of(*, actor: Actor, person_id: int, account_id: int) -> bool:
    """Unlink a Discord account from a person whom the actor administers; False if it is
    not that person's.
    """
    current, person = lock_for(actor, person_id)
    check_covers(current, person)
    account = DiscordAccount.objects.filter(pk=account_id, person=person).first()
    return account is not None and _unlink(current, account)


def accounts_of(person: Person) -> list[DiscordAccount]:
    """Return the Discord accounts of a person, by name."""
    return list(person.discord_accounts.order_by("name", "discord_id"))


def _unlink(actor: Actor, account: DiscordAccount) -> bool:
    removed, _ = DiscordAccount.objects.filter(pk=account.pk).delete()
    if removed:
        _record("person.discord_unlinked", actor, account, before=account.discord_id)
    return bool(removed)


def _record(
    action: str,
    actor: Actor,
    account: DiscordAccount,
    *,
    before: str = "",
    after: str = "",
) -> None:
    record_about(
        action,
        actor,
        account.person,
        discord=account.name,
        discord_id=account.discord_id,
        before=before,
        after=after,
    )

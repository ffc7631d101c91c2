"""Links accounts of chat services to people. The desk sends a one-time link to such an
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
from people.models import ChatAccount, ChatLink, ChatService, Person
from people.roles import check_covers, lock_for, record_about
from people.tokens import hash_of, new_token

# How long a link is valid.
LASTS = timedelta(minutes=15)
MAX_NAME = 100
# How many links for one account are valid at a time.
MAX_LINKS = 5
NOT_GOOD = "This link no longer works. Press the button again for a new one: each works once, for 15 minutes."


@atomic_with_retry
def offer_link(*, service: str, account_id: str, name: str) -> str:
    """Return the URL of a page that links this account of a chat service to the
    signed-in person who confirms it.

    Show it only to that account. Asking twice makes two valid links; using one makes
    the other void.
    """
    account = {"service": ChatService(service), "account_id": account_id}
    offers = ChatLink.objects.filter(**account)
    valid = offers.filter(expires_at__gt=Now()).order_by("-pk")
    newest = [one.pk for one in valid[: MAX_LINKS - 1]]
    offers.exclude(pk__in=newest).delete()
    token = new_token()
    ChatLink.objects.create(
        **account,
        name=name[:MAX_NAME],
        token_hash=hash_of(token),
        expires_at=Now() + LASTS,
    )
    return (
        f"{settings.PUBLIC_URL}{reverse('link-chat-account', kwargs={'token': token})}"
    )


def read_offer(token: str) -> ChatLink:
    """Return the valid link with this token, without using it. Raises LinkNotGood."""
    offer = ChatLink.objects.filter(
        token_hash=hash_of(token), expires_at__gt=Now()
    ).first()
    if offer is None:
        raise LinkNotGood(NOT_GOOD)
    return offer


@atomic_with_retry
def link_account(*, actor: Actor, token: str) -> ChatAccount:
    """Use the link with this token, and link its account to the actor.

    Raises LinkNotGood, and LinkedElsewhere if the account belongs to another person, or
    if the actor may be another person: that one could act from there later, too.
    """
    offer = read_offer(token)
    if others := Identities().others_behind(actor.person_id):
        raise LinkedElsewhere(
            f"Set a second factor first, under Your account: a link of {others} set your password."
        )
    still_valid = ChatLink.objects.filter(pk=offer.pk, expires_at__gt=Now())
    if not still_valid.delete()[0]:
        raise LinkNotGood(NOT_GOOD)
    chat = {"service": offer.service, "account_id": offer.account_id}
    ChatLink.objects.filter(**chat).delete()
    try:
        with transaction.atomic():
            account, is_new = ChatAccount.objects.get_or_create(
                **chat, defaults={"person_id": actor.person_id, "name": offer.name}
            )
    except IntegrityError:
        # Two people used two links of one account at once: the first one gets it.
        account = None
    if account is None or str(account.person_id) != actor.id:
        raise LinkedElsewhere(
            f"The {offer.get_service_display()} account {offer} belongs to somebody else at "
            "this desk. They or an admin must unlink it first; then ask for a new link."
        )
    if is_new:
        _record(
            "person.chat_linked", actor, account, before="", after=account.account_id
        )
    elif account.name != offer.name:
        ChatAccount.objects.filter(pk=account.pk).update(name=offer.name)
    return account


@atomic_with_retry
def unlink_own(*, actor: Actor, account_id: int) -> bool:
    """Unlink one of the actor's own chat accounts; False if it is not theirs, or not
    any more.
    """
    return _unlink(actor, actor.person_id, account_id)


@atomic_with_retry
def unlink_of(*, actor: Actor, person_id: int, account_id: int) -> bool:
    """Unlink a chat account from a person whom the actor administers; False if it is
    not theirs, or not any more.
    """
    current, person = lock_for(actor, person_id)
    check_covers(current, person)
    return _unlink(current, person.pk, account_id)


def accounts_of(person: Person) -> list[ChatAccount]:
    """Return the chat accounts of a person, by service and name."""
    return list(person.chat_accounts.order_by("service", "name", "account_id"))


def _unlink(actor: Actor, person_id: int, account_id: int) -> bool:
    account = ChatAccount.objects.filter(pk=account_id, person=person_id).first()
    # Of two who unlink it at once, one finds it gone.
    if account is None or not account.delete()[0]:
        return False
    _record("person.chat_unlinked", actor, account, before=account.account_id, after="")
    return True


def _record(
    action: str, actor: Actor, account: ChatAccount, *, before: str, after: str
) -> None:
    record_about(
        action,
        actor,
        account.person,
        before=before,
        after=after,
        **{account.service: account.name, f"{account.service}_id": account.account_id},
    )

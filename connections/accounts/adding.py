"""Adds a connection, once its oversight key has been seen to work."""

import re
import secrets
from collections.abc import Mapping
from datetime import datetime

from django.utils.text import slugify

from audit.recording import changed, record
from common.postgres.anew import atomic_anew
from connections.accounts.rights import check_may_add
from connections.errors import AccountConnected, ConnectionNotChanged
from mirror.models import Connection
from people.actors import Actor

MAX_NAME = 80


def new_secret() -> str:
    """Return a signing secret of the desk's own making."""
    return f"whsec_{secrets.token_urlsafe(32)}"


@atomic_anew
def add_connection(
    *,
    actor: Actor,
    name: str,
    api_url: str,
    keys: Mapping[str, str],
    scopes: Mapping[str, list[str] | None],
    is_our_gateway: bool,
    account: str,
    now: datetime,
) -> Connection:
    """Add a connection with these keys by slot; the caller has checked them. Only an admin of everything may.

    `account` is MultiMail's id of the account: connected twice, each of its messages would wait twice.
    """
    check_may_add(actor)
    check_name(name, connection=None)
    known = Connection.objects.at_work().filter(api_url=api_url, account_id=account).first() if account else None
    if known is not None:
        raise AccountConnected(f"This account is connected already, as {known}. Change its keys there.")
    connection = Connection.objects.create(
        slug=_free_slug(name),
        name=name,
        api_url=api_url,
        is_our_gateway=is_our_gateway,
        webhook_secret=new_secret(),
        account_id=account,
        key_scopes={slot: found for slot, found in scopes.items() if keys.get(slot)},
        keys_checked_at=now,
        **{f"{slot}_key": key for slot, key in keys.items()},
    )
    there = ", ".join(slot for slot, key in keys.items() if key)
    details = {
        "explanation": f"{name}, keys: {there}.",
        **changed(before="", after=f"name: {name}; at: {api_url}; keys: {there}"),
    }
    record("connection.added", actor=actor, connection=connection.pk, details=details)
    return connection


def check_name(name: str, *, connection: Connection | None) -> None:
    """Raise ConnectionNotChanged for a name that another connection at work has."""
    others = Connection.objects.at_work().filter(name__iexact=name)
    if connection is not None:
        others = others.exclude(pk=connection.pk)
    if others.exists():
        raise ConnectionNotChanged(f"There is a connection named {name} already. Choose another name.")


def _free_slug(name: str) -> str:
    base = re.sub(r"-{2,}", "-", slugify(name))[:40].strip("-") or "connection"
    taken = set(Connection.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    number, slug = 1, base
    while slug in taken:
        number += 1
        slug = f"{base}-{number}"
    return slug

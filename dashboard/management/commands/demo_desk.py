"""Makes the demo's side of the desk: four people, the connection to the gateway, the places for alerts.

`begin` makes what the gateway needs to know (the webhook's address and secret), `finish` what needs the gateway's keys.
"""

import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.db import transaction

from alerts.channels.signed_webhook.channel import make_secret
from common.credentials import read_credentials, update_credentials
from common.demo_programs import HOOK_SECRET
from dashboard.demo_alerts import link_account, make_places, register_commands
from mirror.models import Connection, Mailbox
from people.actors import Role
from people.models import Grant, Person

SLUG = "demo"
# prefix in credentials.env, address, name, roles
PEOPLE = (
    ("REVIEWER", "ana@yourteam.example", "Ana Ferreira", (Role.REVIEWER,)),
    ("REVIEWER2", "ben@yourteam.example", "Ben Okafor", (Role.REVIEWER,)),
    ("ADMIN", "ida@yourteam.example", "Ida Lindqvist", (Role.ADMIN,)),
    ("AUDITOR", "max@yourteam.example", "Max Weber", (Role.AUDITOR,)),
)


class Command(BaseCommand):
    """Idempotent: what is there already stays, and the file follows the database."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", choices=["begin", "finish"])
        parser.add_argument("--credentials", type=Path, required=True)

    @transaction.atomic
    def handle(self, *args: Any, part: str, credentials: Path, **options: Any) -> None:
        known = read_credentials(credentials)
        made = _begin(known) if part == "begin" else _finish(known)
        update_credentials(credentials, made)
        register_commands(credentials.parent)


def _begin(known: dict[str, str]) -> dict[str, str]:
    passwords = {}
    for prefix, email, _, _ in PEOPLE:
        name = f"{prefix}_PASSWORD"
        passwords[name] = known.get(name) or secrets.token_urlsafe(12)
        # Hashing is slow on purpose, so it is done for a new password only: here when the file was lost.
        if name not in known and (person := Person.objects.filter(email=email).first()):
            person.set_password(passwords[name])
            person.save(update_fields=["password"])
    dashboard = f"http://127.0.0.1:{settings.PORT}"
    webhook_id = known.get("WEBHOOK_URL", "").rstrip("/").rpartition("/")[2] or secrets.token_urlsafe(24)
    return {
        "DASHBOARD_URL": dashboard,
        "GATEWAY_URL": f"http://127.0.0.1:{settings.GATEWAY_PORT}",
        "DISCORD_URL": f"http://127.0.0.1:{settings.DISCORD_PORT}",
        "WEBHOOK_URL": f"{dashboard}/webhooks/multimail/{webhook_id}/",
        HOOK_SECRET: known.get(HOOK_SECRET) or make_secret(),
        "WEBHOOK_SECRET": known.get("WEBHOOK_SECRET") or f"whsec_{secrets.token_urlsafe(32)}",
        "OUTBOX_DIR": str(settings.DATA_DIR / "outbox"),
        "DATABASE_URL": settings.OWN_DATABASE_URL,
        "REDIS_URL": settings.REDIS_URL,
        **{f"{prefix}_EMAIL": email for prefix, email, _, _ in PEOPLE},
        **passwords,
    }


def _finish(known: dict[str, str]) -> dict[str, str]:
    if not Connection.objects.removed().filter(slug=SLUG).exists():
        _connect(known)
    for prefix, email, name, roles in PEOPLE:
        _person(email, name, known[f"{prefix}_PASSWORD"], roles)
    make_places(hook_secret=known[HOOK_SECRET])
    return {}


def _connect(known: dict[str, str]) -> None:
    """Connect the demo's account; whoever removed it meant that, and its keys are not put back."""
    connection, _ = Connection.objects.update_or_create(
        slug=SLUG,
        defaults={
            "name": "Demo gateway",
            "api_url": settings.MULTIMAIL_API_URL,
            "webhook_id": known["WEBHOOK_URL"].rstrip("/").rpartition("/")[2],
            "webhook_secret": known["WEBHOOK_SECRET"],
            "oversight_key": known["OVERSIGHT_KEY"],
            "read_key": known["READ_KEY"],
            "admin_key": known["ADMIN_KEY"],
            "agent_key": known["AGENT_KEY"],
            "is_our_gateway": True,
        },
    )
    # A pause that the old key brought about ends with the first read, which need not be waited for.
    Connection.objects.filter(pk=connection.pk).exclude(paused_at=None).update(read_at=None)
    for prefix in ("MAILBOX", "MAILBOX2"):
        Mailbox.objects.update_or_create(
            connection=connection,
            upstream_id=known[f"{prefix}_ID"],
            defaults={"address": known[f"{prefix}_ADDRESS"], "oversight_mode": "gated_send"},
        )


def _person(email: str, name: str, password: str, roles: tuple[Role, ...]) -> None:
    person = Person.objects.filter(email=email).first()
    if person is None:
        person = Person.objects.create_user(email=email, name=name, password=password)
        link_account(person)
    for role in roles:
        Grant.objects.get_or_create(person=person, role=role, connection=None, mailbox=None)

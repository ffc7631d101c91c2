"""Creates the demo's data in the desk: four people, the connection to the gateway, the
alert destinations.

`begin` makes what the gateway needs to know (the webhook's address and secret),
`finish` what needs the gateway's keys.
"""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.db import transaction

from alerts.channels import channel_of
from alerts.channels.discord.registration import COMMANDS
from alerts.deliveries.planning import CARD_ACTIONS
from alerts.ledger_events import EVENTS
from alerts.models import Destination, Route
from common.actors import Role
from common.credentials import read_credentials, update_credentials
from common.demo import (
    APP_ID,
    APPROVALS,
    COMMANDS_FILE,
    EVENT_KEY,
    EVENTS_PATH,
    HOOK_PATH,
    HOOK_SECRET,
    MAIL_LOG,
    MEMBERS,
    SUPPORT,
)
from mirror.models import Connection, Mailbox
from people.models import ChatAccount, Grant, Person

SLUG = "demo"
# For each person: the prefix of their lines in credentials.env, address, name, role.
PEOPLE = (
    ("REVIEWER", "ana@yourteam.example", "Ana Ferreira", Role.REVIEWER),
    ("REVIEWER2", "ben@yourteam.example", "Ben Okafor", Role.REVIEWER),
    ("ADMIN", "ida@yourteam.example", "Ida Lindqvist", Role.ADMIN),
    ("AUDITOR", "max@yourteam.example", "Max Weber", Role.AUDITOR),
)


class Command(BaseCommand):
    # Can be run again: existing rows stay, and the credentials file is updated to fit
    # the database.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", choices=["begin", "finish"])
        parser.add_argument("--credentials", type=Path, required=True)

    @transaction.atomic
    def handle(self, *args: Any, part: str, credentials: Path, **options: Any) -> None:
        stored = read_credentials(credentials)
        if part == "begin":
            update_credentials(credentials, _begin(stored))
        else:
            if not Connection.objects.removed().filter(slug=SLUG).exists():
                _connect(stored)
            for prefix, email, name, role in PEOPLE:
                person = Person.objects.filter(email=email).first()
                if person is None:
                    person = Person.objects.create_user(
                        email=email, name=name, password=stored[f"{prefix}_PASSWORD"]
                    )
                    # Link the person's account on the server of the demo's Discord.
                    for member in MEMBERS:
                        if member.email == email:
                            ChatAccount.objects.get_or_create(
                                service="discord",
                                account_id=member.id,
                                defaults={"person": person, "name": member.username},
                            )
                Grant.objects.get_or_create(
                    person=person, role=role, connection=None, mailbox=None
                )
            _make_destinations(stored[HOOK_SECRET])
        # Register the slash commands with the demo's Discord, unless it has some, as
        # `discord_register` does with Discord.
        commands = credentials.parent / COMMANDS_FILE
        if not commands.exists():
            commands.write_text(json.dumps(COMMANDS), encoding="utf-8")


def _begin(stored: dict[str, str]) -> dict[str, str]:
    passwords = {}
    for prefix, email, _, _ in PEOPLE:
        name = f"{prefix}_PASSWORD"
        passwords[name] = stored.get(name) or secrets.token_urlsafe(12)
        # If the file was lost, the person exists and gets a new password. Hashing is
        # slow on purpose, so it is not done each time.
        if name not in stored and (
            person := Person.objects.filter(email=email).first()
        ):
            person.set_password(passwords[name])
            person.save(update_fields=["password"])
    dashboard = f"http://127.0.0.1:{settings.PORT}"
    webhook_id = _webhook_id(stored) or secrets.token_urlsafe(24)
    return {
        "DASHBOARD_URL": dashboard,
        "DISCORD_URL": f"http://127.0.0.1:{settings.DISCORD_PORT}",
        "WEBHOOK_URL": f"{dashboard}/webhooks/multimail/{webhook_id}/",
        HOOK_SECRET: stored.get(HOOK_SECRET)
        or channel_of("signed_webhook").new_secret(),
        "WEBHOOK_SECRET": stored.get("WEBHOOK_SECRET")
        or f"whsec_{secrets.token_urlsafe(32)}",
        "OUTBOX_DIR": str(settings.DATA_DIR / "outbox"),
        "DATABASE_URL": settings.OWN_DATABASE_URL,
        "REDIS_URL": settings.REDIS_URL,
        **{f"{prefix}_EMAIL": email for prefix, email, _, _ in PEOPLE},
        **passwords,
    }


def _webhook_id(stored: dict[str, str]) -> str:
    return stored.get("WEBHOOK_URL", "").rstrip("/").rpartition("/")[2]


def _connect(stored: dict[str, str]) -> None:
    """Connect the desk to the demo's account at the gateway, with its two mailboxes."""
    connection, _ = Connection.objects.update_or_create(
        slug=SLUG,
        defaults={
            "name": "Demo gateway",
            "api_url": settings.MULTIMAIL_API_URL,
            "webhook_id": _webhook_id(stored),
            "webhook_secret": stored["WEBHOOK_SECRET"],
            "oversight_key": stored["OVERSIGHT_KEY"],
            "read_key": stored["READ_KEY"],
            "admin_key": stored["ADMIN_KEY"],
            "agent_key": stored["AGENT_KEY"],
            "is_our_gateway": True,
        },
    )
    # An old key may have paused the connection. The next read ends that: have it read
    # at once.
    connection.row.exclude(paused_at=None).update(read_at=None)
    for prefix in ("MAILBOX", "MAILBOX2"):
        Mailbox.objects.update_or_create(
            connection=connection,
            upstream_id=stored[f"{prefix}_ID"],
            defaults={
                "address": stored[f"{prefix}_ADDRESS"],
                "oversight_mode": "gated_send",
            },
        )


# The events that the demo's channel #mail-log is notified about.
_LOGGED = """
    email.sent email.delivered email.bounced email.complained email.failed email.refused
    connection.failing connection.paused connection.recovered
""".split()


def _make_destinations(hook_secret: str) -> None:
    """Create the demo's alert destinations if they are missing, and update the ports of
    existing ones. Removed ones stay removed.
    """
    every = [action for event in EVENTS for action in event.actions]
    logged = [
        action for event in EVENTS if event.name in _LOGGED for action in event.actions
    ]
    approvals = "#approvals (demo)"
    cards = list(CARD_ACTIONS)
    if str(settings.DISCORD_APP_ID) == APP_ID:
        # With the whole text, so that a card can be approved from.
        _make_destination(
            approvals,
            "discord_bot",
            "",
            cards,
            channel=APPROVALS.id,
            privacy=Destination.Privacy.FULL,
        )
        _make_destination(
            "#support (demo)",
            "discord_bot",
            channel=SUPPORT.id,
            answers_channel=SUPPORT.name,
        )
    else:
        # Settings for a real Discord application: it knows no channels of the demo's.
        _make_destination(approvals, "discord_webhook", _webhook(APPROVALS.id), cards)
    _make_destination(
        "#mail-log (demo)", "discord_webhook", _webhook(MAIL_LOG.id), logged
    )
    _make_destination("Inngest (demo)", "inngest", f"{EVENTS_PATH}{EVENT_KEY}", every)
    _make_destination(
        "Signed webhook (demo)", "signed_webhook", HOOK_PATH, every, secret=hook_secret
    )


def _make_destination(
    name: str, kind: str, path: str = "", actions: Sequence[str] = (), **more: str
) -> None:
    # The port may differ from the last run's.
    url = f"http://127.0.0.1:{settings.DISCORD_PORT}{path}" if path else ""
    destination, made = Destination.objects.get_or_create(
        name=name, defaults={"kind": kind, "url": url, **more}
    )
    if made and actions:
        Route.objects.create(destination=destination, actions=actions)
    is_same = destination.kind == kind and destination.removed_at is None
    if is_same and destination.url != url:
        destination.url = url
        destination.save(update_fields=["url"])


def _webhook(number: str) -> str:
    # The demo's Discord accepts any token; this one has the form of a real one.
    return f"/api/webhooks/{number}/demo-{'x' * 32}"

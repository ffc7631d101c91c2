"""The demo's places for alerts: channels of the stand-in for Discord, and the programs beside it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from alerts.channels.discord.commands.register import COMMANDS
from alerts.deliveries.planning import CARD_ACTIONS
from alerts.events import EVENTS
from alerts.models import Destination, Route
from common.demo_discord import APP_ID, APPROVALS, COMMANDS_FILE, MAIL_LOG, MEMBERS, SUPPORT
from common.demo_programs import EVENT_KEY, EVENTS_PATH, HOOK_PATH
from people.models import DiscordAccount, Person

_LOGGED = (
    *("email.sent", "email.delivered", "email.bounced", "email.complained", "email.failed", "email.refused"),
    *("connection.failing", "connection.paused", "connection.recovered", "desk.stale", "desk.fresh"),
)


@dataclass(frozen=True)
class _Place:
    name: str
    kind: Destination.Kind
    path: str = ""
    actions: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is in this run, whose ports may be others than the last one's."""
        return f"http://127.0.0.1:{settings.DISCORD_PORT}{self.path}" if self.path else ""


def has_own_application() -> bool:
    """Whether the desk's Discord application is the stand-in's, and not one that somebody gave."""
    return str(settings.DISCORD_APP_ID) == APP_ID


def make_places(*, hook_secret: str) -> None:
    """Make what is not there yet, and let what is there lead to this run's ports; what was removed stays removed."""
    for place in _places(hook_secret):
        fields = {"kind": place.kind, "url": place.url, **place.more}
        destination, made = Destination.objects.get_or_create(name=place.name, defaults=fields)
        if made and place.actions:
            Route.objects.create(destination=destination, actions=list(place.actions))
        if destination.kind == place.kind and destination.url != place.url and destination.removed_at is None:
            destination.url = place.url
            destination.save(update_fields=["url"])


def register_commands(folder: Path) -> None:
    """Let the stand-in know the slash commands, as `discord_register` lets Discord; what is registered stays."""
    file = folder / COMMANDS_FILE
    if not file.exists():
        file.write_text(json.dumps(COMMANDS), encoding="utf-8")


def link_account(person: Person) -> None:
    """Link a person of the demo with their account on the stand-in's server."""
    for member in MEMBERS:
        if member.email == person.email:
            fields = {"person": person, "name": member.username}
            DiscordAccount.objects.get_or_create(discord_id=member.id, defaults=fields)


def _places(hook_secret: str) -> list[_Place]:
    kind = Destination.Kind
    every = tuple(action for event in EVENTS for action in event.actions)
    logged = tuple(action for event in EVENTS if event.name in _LOGGED for action in event.actions)
    return [
        *_channels(logged),
        _Place("Inngest (demo)", kind.INNGEST, f"{EVENTS_PATH}{EVENT_KEY}", every),
        _Place("Signed webhook (demo)", kind.SIGNED_WEBHOOK, HOOK_PATH, every, {"secret": hook_secret}),
    ]


def _channels(logged: tuple[str, ...]) -> list[_Place]:
    webhook, bot = Destination.Kind.DISCORD_WEBHOOK, Destination.Kind.DISCORD_BOT
    log = _Place("#mail-log (demo)", webhook, _webhook(MAIL_LOG.id), logged)
    if not has_own_application():
        return [_Place("#approvals (demo)", webhook, _webhook(APPROVALS.id), CARD_ACTIONS), log]
    answers = {"channel": SUPPORT.id, "answers_channel": SUPPORT.name}
    return [
        _Place("#approvals (demo)", bot, actions=CARD_ACTIONS, more={"channel": APPROVALS.id}),
        _Place("#support (demo)", bot, more=answers),
        log,
    ]


def _webhook(number: str) -> str:
    # The stand-in takes any token; this one looks like Discord's.
    return f"/api/webhooks/{number}/demo-{'x' * 32}"

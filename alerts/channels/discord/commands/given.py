"""A command as it was given: who gave it, where, with what. A pure reading of the stored interaction."""

import json
from dataclasses import dataclass, field

from django.conf import settings

from alerts.channels.discord.commands.errors import CommandRefused
from alerts.channels.discord.interactions.linking import how_to_link
from alerts.models import Interaction
from people.actors import Actor
from people.models import Person
from people.sign_in.factors import needs_second_factor


@dataclass(frozen=True)
class Given:
    """A command, and the person of the desk who gave it."""

    name: str
    interaction_id: str
    person: Person
    actor: Actor
    discord_user: str
    discord_user_id: str
    trigger: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)

    def option(self, name: str) -> str:
        """Return what was typed there, without what is around it."""
        return self.options.get(name, "").strip()


def read_given(interaction: Interaction) -> Given:
    """Return the command. Raises CommandRefused for who is not linked, has no part here, or must prove more."""
    number = interaction.discord_user_id
    person = Person.objects.filter(discord_accounts__discord_id=number).prefetch_related("grants").first()
    if person is None:
        raise CommandRefused(how_to_link(interaction), why="not linked")
    actor = person.actor(surface="discord")
    if not actor.scopes:
        raise CommandRefused("You have no part in this desk any more. Ask an admin of it.", why="no role")
    if needs_second_factor(person):
        raise CommandRefused(
            "Your role needs a second factor, which nobody can prove here: "
            f"[do it on the desk](<{settings.PUBLIC_URL}/>).",
            why="second factor",
        )
    return Given(
        name=interaction.name,
        interaction_id=interaction.discord_id,
        person=person,
        actor=actor,
        discord_user=interaction.discord_user,
        discord_user_id=number,
        trigger=trigger_of(interaction),
        options=read_options(interaction.options),
    )


def trigger_of(interaction: Interaction) -> dict[str, str]:
    """Return what travels with the mail, so that whoever reads it knows where it began. Nothing empty."""
    told = {
        "discord_user": interaction.discord_user,
        "discord_user_id": interaction.discord_user_id,
        "discord_channel": interaction.discord_channel or interaction.discord_channel_id,
        "discord_channel_id": interaction.discord_channel_id,
        "discord_guild": interaction.discord_guild_id,
        "discord_interaction_id": interaction.discord_id,
    }
    return {name: text for name, text in told.items() if text}


def told_of(interaction: Interaction) -> dict[str, str]:
    """Return what the ledger tells of a command: never what was written in it."""
    return {
        "command": f"/{interaction.name}",
        "discord": interaction.discord_user,
        "discord_id": interaction.discord_user_id,
        "channel": interaction.discord_channel or interaction.discord_channel_id,
        "guild": interaction.discord_guild_id,
        "interaction": interaction.discord_id,
    }


def read_options(stored: str) -> dict[str, str]:
    """Return the options by name, as they were kept when the command came."""
    return {row["name"]: row["value"] for row in (json.loads(stored) if stored else [])}

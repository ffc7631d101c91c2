"""A Discord command: who sent it, where and with which options; how it fails; and what
was typed, for the answer.
"""

import json
from dataclasses import dataclass

from django.conf import settings

from alerts.cards.markup import cut, units
from alerts.channels.discord.replies import MAX_CONTENT, link_instructions
from alerts.models import Interaction
from common.actors import Actor
from people.models import Person
from people.sign_in.backend import needs_second_factor

_TYPED = "\nYou typed:\n"
_FENCE = "```"
# With fewer units left than this, the typed text is not repeated.
_MIN_UNITS = 40


class CommandRefused(Exception):
    """The command is refused. The sentence is for its sender, ready for Discord;
    `reason` is for the ledger.

    `may_have_left` is whether MultiMail may have accepted it all the same.
    """

    def __init__(
        self, sentence: str, *, reason: str, may_have_left: bool = False
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.reason = reason
        self.may_have_left = may_have_left


@dataclass(frozen=True)
class Command:
    """A command, and the desk's user who sent it."""

    interaction: Interaction
    person: Person
    actor: Actor
    options: dict[str, str]

    def option(self, name: str) -> str:
        """Return the value of an option, without spaces around it."""
        return self.options.get(name, "").strip()

    @property
    def trigger(self) -> dict[str, str]:
        """What is sent with the mail, so that its reviewers know where it began.
        Nothing empty.
        """
        interaction = self.interaction
        trigger = {
            "discord_user": interaction.discord_user,
            "discord_user_id": interaction.discord_user_id,
            "discord_channel": interaction.discord_channel
            or interaction.discord_channel_id,
            "discord_channel_id": interaction.discord_channel_id,
            "discord_guild": interaction.discord_guild_id,
            "discord_interaction_id": interaction.discord_id,
        }
        return {name: text for name, text in trigger.items() if text}


def read_command(interaction: Interaction) -> Command:
    """Return the command. Raises CommandRefused for who is not linked, has no role
    here, or must prove more.
    """
    linked = Person.objects.filter(
        discord_accounts__discord_id=interaction.discord_user_id
    )
    person = linked.prefetch_related("grants").first()
    if person is None:
        raise CommandRefused(link_instructions(interaction), reason="not linked")
    actor = person.actor(surface="discord")
    if not actor.scopes:
        raise CommandRefused(
            "You no longer have a role at this desk. Ask an admin.", reason="no role"
        )
    if needs_second_factor(person):
        raise CommandRefused(
            "Your role needs a second factor, which is not possible on Discord: [use the "
            f"desk](<{settings.PUBLIC_URL}/>).",
            reason="second factor",
        )
    return Command(interaction, person, actor, _options(interaction.options))


def command_details(interaction: Interaction) -> dict[str, str]:
    """Return what the ledger records of a command: never what was written in it."""
    return {
        "command": f"/{interaction.name}",
        "discord": interaction.discord_user,
        "discord_id": interaction.discord_user_id,
        "channel": interaction.discord_channel or interaction.discord_channel_id,
        "channel_id": interaction.discord_channel_id,
        "guild": interaction.discord_guild_id,
        "interaction": interaction.discord_id,
    }


def with_typed_text(sentence: str, stored_options: str) -> str:
    """Return the answer with the typed text below it, because Discord does not keep
    what was typed.
    """
    typed = _options(stored_options)
    if not typed.get("body", "").strip():
        return sentence
    named = [
        f"{name}: {typed[name]}"
        for name in ("to", "subject", "message_id")
        if typed.get(name, "").strip()
    ]
    # Three backticks would end the code block.
    body = "\n".join([*named, typed["body"].strip()]).replace(_FENCE, "'''")
    limit = MAX_CONTENT - units(sentence) - units(_TYPED) - 2 * (len(_FENCE) + 1)
    if limit < _MIN_UNITS:
        return sentence
    return f"{sentence}{_TYPED}{_FENCE}\n{cut(body, limit)}\n{_FENCE}"


def _options(stored: str) -> dict[str, str]:
    return {row["name"]: row["value"] for row in (json.loads(stored) if stored else [])}

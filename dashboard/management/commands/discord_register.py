"""Registers the slash commands of this desk with Discord. Doing it again changes
nothing.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from alerts.channels.discord.registration import NotRegistered, register


class Command(BaseCommand):
    # Replaces all slash commands of the application at once: commands that this
    # version does not have are removed.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--guild",
            default="",
            help="the id of one server, where they appear at once",
        )

    def handle(self, *args: Any, guild: str, **options: Any) -> None:
        try:
            names = register(guild=guild)
        except NotRegistered as error:
            raise CommandError(str(error)) from None
        where = (
            f"on the server {guild}" if guild else "on every server that your bot is on"
        )
        self.stdout.write(f"Discord knows {', '.join(names)} {where} now.\n")

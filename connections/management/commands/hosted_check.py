"""Checks a MultiMail account by reads, and says which facts that the desk relies on
were seen there.
"""

import getpass
import json
import os
import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from connections.accounts.keys import address_error
from connections.hosted import FACTS, Host, NotSeen
from upstream.capabilities import WORDS, read_capabilities

# The keys that are asked for, and what each is good for.
KEYS = {
    "oversight": "lists what is held",
    "read": "messages, contacts",
    "admin": "webhooks, API keys, suppressed addresses",
}
# What a field of an unexpected kind raises.
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)
SEEN = "seen"
DIFFERS = "differs"
NOT_SEEN = "could not be seen"
THERE = {True: "there", False: "not there", None: NOT_SEEN}


def variable(slot: str) -> str:
    """Return the environment variable of a key."""
    return f"HOSTED_CHECK_{slot.upper()}_KEY"


class Command(BaseCommand):
    """It changes nothing, neither on the desk nor at MultiMail."""

    help = (
        "Reads a MultiMail account. Prints each fact of docs/multimail.md that the desk relies on as seen, as "
        "differing or as not seen, then what the account has beyond them, and writes it all to a file without keys, "
        "addresses of people or content, for the maintainers. "
        f"Keys are asked for, or read from the environment: {', '.join(map(variable, KEYS))}."
    )
    # It needs no database.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "address", help="MultiMail's address, such as https://api.multimail.dev"
        )
        parser.add_argument(
            "--output",
            type=Path,
            default=Path("hosted_check.json"),
            help="the file that is written",
        )

    def handle(self, *args: Any, address: str, output: Path, **options: Any) -> None:
        if error := address_error(address):
            raise CommandError(error)
        keys = {}
        for slot, what in KEYS.items():
            keys[slot] = os.environ.get(variable(slot), "").strip()
            if variable(slot) not in os.environ and sys.stdin.isatty():
                keys[slot] = getpass.getpass(
                    f"{slot.capitalize()} key ({what}), or Enter to go without: "
                ).strip()
        host = Host(address, keys)
        results = list[dict[str, str]]()
        for section, facts in FACTS.items():
            for fact, check in facts.items():
                try:
                    detail = check(host)
                    outcome = DIFFERS if detail else SEEN
                except NotSeen as error:
                    outcome = NOT_SEEN
                    detail = str(error)
                except UNREADABLE:
                    outcome = DIFFERS
                    detail = "an answer has a form that cannot be read"
                result = {
                    "outcome": outcome,
                    "section": section,
                    "fact": fact,
                    "detail": detail,
                }
                results.append(result)
                self.stdout.write(
                    f"{outcome:17}  {section}: {fact}{f' ({detail})' if detail else ''}"
                )
        self.stdout.write("")
        abilities = read_capabilities(api_url=address, keys=keys)
        for name, is_there in abilities.items():
            self.stdout.write(f"{THERE[is_there]:17}  {WORDS[name][0]}")
        found = {
            "address": address,
            "made_at": timezone.now().isoformat(),
            "facts": results,
            "abilities": abilities,
        }
        try:
            output.write_text(json.dumps(found, indent=2) + "\n")
        except OSError as error:
            raise CommandError(
                f"{output} cannot be written: {error.strerror}."
            ) from None
        differing = sum(one["outcome"] == DIFFERS for one in results)
        self.stdout.write(
            f"\n{differing} of {len(results)} facts differ. The file is {output}."
        )

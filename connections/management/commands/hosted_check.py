"""`./run manage hosted_check ADDRESS`: checks a MultiMail account, and prints which
facts that the desk relies on are true there. It writes the result to a file for the
maintainers.
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
from connections.hosted.facts import ANSWER_FACTS, FACTS
from connections.hosted.probe import Host, NotSeen
from connections.hosted.sandbox import AGENT, OVERSIGHT, SANDBOX_FACTS
from upstream.capabilities import DOORS, WORDS, read_capabilities

# The keys that the command asks for, and what each is used for.
KEYS = {
    "oversight": "lists what is held",
    "read": "messages, threads, attachments, contacts",
    "admin": "webhooks, API keys, suppressed addresses",
    AGENT: "an mm_test_ key with read and send, for one message to yourself",
    OVERSIGHT: "an mm_test_ key with oversight, to reject that message",
}
# What a check raises if a field has an unexpected type.
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)
SEEN = "seen"
DIFFERS = "differs"
NOT_SEEN = "could not be seen"
THERE = {True: "there", False: "not there", None: NOT_SEEN}


def variable(kind: str) -> str:
    """Return the name of the environment variable for a kind of key."""
    return f"HOSTED_CHECK_{kind.upper().replace(' ', '_')}_KEY"


class Command(BaseCommand):
    """Changes nothing on the desk, and at MultiMail only what the operator allows."""

    help = (
        "Tries a MultiMail account by reads and, if you type yes, one sandbox message to yourself. Reports which facts "
        "of docs/multimail.md were seen, differ or were not seen, and what else the account has; also to a file for "
        "the maintainers, without keys, addresses of people or content. "
        f"Asks for the keys, or reads them from the environment: {', '.join(map(variable, KEYS))}."
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
        for kind, what in KEYS.items():
            keys[kind] = os.environ.get(variable(kind), "").strip()
            if variable(kind) not in os.environ and sys.stdin.isatty():
                keys[kind] = getpass.getpass(
                    f"{kind.capitalize()} key ({what}), or Enter to go without: "
                ).strip()
        sandbox = [keys[AGENT], keys[OVERSIGHT]]
        if any(key and not key.startswith("mm_test_") for key in sandbox):
            raise CommandError("A sandbox key begins with mm_test_. Nothing was sent.")
        may_send = False
        if all(sandbox):
            self.stdout.write(
                "The sandbox step sends one message from the first mailbox of the sandbox agent key to itself, rejects "
                "it, and reads an unread message of that mailbox, which marks it as read. Type yes to allow it:"
            )
            may_send = sys.stdin.readline().strip() == "yes"
        host = Host(address, keys)
        results = list[dict[str, str]]()
        for table in (FACTS, SANDBOX_FACTS if may_send else {}, ANSWER_FACTS):
            for section, facts in table.items():
                for fact, look in facts.items():
                    try:
                        detail = look(host)
                        outcome = DIFFERS if detail else SEEN
                    except NotSeen as error:
                        outcome = NOT_SEEN
                        detail = str(error)
                    except UNREADABLE:
                        outcome = DIFFERS
                        detail = "an answer has a form that cannot be read"
                    results.append(
                        {
                            "outcome": outcome,
                            "section": section,
                            "fact": fact,
                            "detail": detail,
                        }
                    )
                    self.stdout.write(
                        f"{outcome:17}  {section}: {fact}{f' ({detail})' if detail else ''}"
                    )
        self.stdout.write("")
        abilities, doors = read_capabilities(api_url=address, keys=keys)
        for name, has_ability in abilities.items():
            self.stdout.write(f"{THERE[has_ability]:17}  {WORDS[name][0]}")
        # Only how many are open: the names may be addresses of people.
        opened = {kind: len(names) for kind, names in doors.items()}
        for kind, (words, _) in DOORS.items():
            found = opened.get(kind, NOT_SEEN)
            self.stdout.write(f"{found!s:17}  way outside this desk: {words.lower()}")
        report = {
            "address": address,
            "made_at": timezone.now().isoformat(),
            "facts": results,
            "abilities": abilities,
            "doors": opened,
        }
        try:
            output.write_text(json.dumps(report, indent=2) + "\n")
        except OSError as error:
            raise CommandError(
                f"{output} cannot be written: {error.strerror}."
            ) from None
        differing = sum(one["outcome"] == DIFFERS for one in results)
        self.stdout.write(
            f"\n{differing} of {len(results)} facts differ. The file is {output}."
        )

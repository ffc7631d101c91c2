"""The command that prints what needs a person, and why. Run it first when the desk does
not work.

Its exit status follows monitoring plugins (Nagios, Icinga): 0 all is well, 2 somebody
must act, 3 the desk could not be checked.
"""

import sys
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.urls import reverse

from alerts.destinations.commands import test_destination
from alerts.models import Destination
from approvals.operations.attention import attention_for
from approvals.operations.items import OPERATOR, AttentionItem, Group, grouped
from common.actors import Role, operator
from common.postgres import clock
from common.smtp import connection_error
from dashboard.health import checks
from dashboard.templatetags.desk import distance

# Kinds of items that need no person while the desk does not run, or has only just
# started.
_ONLY_WHILE_RUNNING = "stalled overdue unread connection silent late ledger".split()
# Exit statuses.
ACT = 2
NOT_EXAMINED = 3
# Sees everything, so that each item names the page on which it can be resolved.
ACTOR = operator("doctor", Role.ADMIN, Role.REVIEWER)


class Command(BaseCommand):
    """Changes nothing, and prints no secret. A test is recorded in the ledger."""

    help = (
        "Lists problems that need a person, with their causes. Exit status: 0 none, 2 some, 3 the desk could not be "
        "checked (for instance because PostgreSQL is not responding). Any other status means that the command itself "
        "failed."
    )
    # It must also work without the database.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--test-alerts",
            action="store_true",
            help="post a test to each destination of alerts, too",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        items = _items()
        if options["test_alerts"]:
            items += _tests_of_alerts()
        groups = grouped(items)
        stuck = [group for group in groups if group.first.needs_action]
        self._list("Needs attention", stuck)
        self._list("For information", [group for group in groups if group not in stuck])
        if any(group.first.kind == "database" for group in stuck):
            self.stdout.write("The desk could not be checked.")
            sys.exit(NOT_EXAMINED)
        if stuck:
            self.stdout.write(
                f"{len(stuck)} problem{'s' if len(stuck) > 1 else ''} to resolve."
            )
            sys.exit(ACT)
        self.stdout.write("Nothing needs attention.")

    def _list(self, title: str, groups: list[Group]) -> None:
        if not groups:
            return
        self.stdout.write(f"{title}:")
        for group in groups:
            first = group.first
            since = ""
            if first.since:
                oldest = "the oldest " if group.number > 1 else ""
                since = f", {oldest}since {_moment(first.since)}"
            what = f"{group.what}{since}".rstrip(".")
            self.stdout.write(_plain(f"  - {what}. {first.why}".rstrip()))
            if first.asked:
                asked = f"    Asked at {_moment(first.asked_at)}: {first.asked}"
                self.stdout.write(_plain(asked))
            if advice := f"{first.advice} {_page(group)}".strip():
                self.stdout.write(_plain(f"    {advice}"))
        self.stdout.write("")


def _items() -> list[AttentionItem]:
    cannot_read = checks.database_error() or checks.pending_migrations()
    if cannot_read or checks.lost_rights():
        return checks.examine()
    left_out: list[str] = []
    if checks.is_desk_stopped():
        left_out = _ONLY_WHILE_RUNNING
    elif checks.is_starting() or checks.is_warming_up():
        left_out = [*_ONLY_WHILE_RUNNING, "unknown"]
    items = attention_for(ACTOR, clock(), with_facts=True)
    items = [one for one in items if one.kind not in left_out]
    # As the set-up page does; it takes too long for the checks of a monitor.
    if settings.EMAIL_URL and (error := connection_error(settings.EMAIL_URL)):
        advice = "Check EMAIL_URL. Until then neither people nor recipients are mailed."
        items.append(checks.item("mail_server", error, advice))
    return items


def _tests_of_alerts() -> list[AttentionItem]:
    """Post a test to each destination, as its page does, and return how each ended."""
    page = reverse("alerts")
    items = []
    for one in Destination.objects.for_list():
        result = test_destination(destination_id=one.pk, actor=ACTOR)
        said = f"{one}: {result.sentence}"
        is_wrong = checks.item("untold", said, "", page=page)
        items.append(checks.fact(said) if result.accepted else is_wrong)
    return items


def _page(group: Group) -> str:
    """Return the URL of the group's page. If the desk is not running, return only the
    path, because the port may change at the next start.
    """
    if group.act is None and group.first.whose == OPERATOR:
        return ""
    # A URL that only accepts POST cannot be opened: name the page with its button.
    path = "/attention/" if group.act is None or group.act.for_all else group.act.url
    return path if checks.is_desk_stopped() else f"{settings.PUBLIC_URL}{path}"


def _moment(at: datetime) -> str:
    return f"{at:%-d %b, %H:%M:%S} UTC ({distance(at, ' ago')})"


def _plain(text: str) -> str:
    """Return a text for the terminal, with control characters replaced. Subjects of
    messages can contain any.
    """
    plain = ""
    for character in text:
        plain += character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
    return plain

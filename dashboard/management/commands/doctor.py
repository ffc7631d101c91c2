"""The command that prints what needs a person, and why. Run it first when the desk does
not work.

Its exit status follows monitoring plugins (Nagios, Icinga): 0 all is well, 2 somebody
must act, 3 the desk could not be checked.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand
from django.db import DatabaseError

from alerts.models import Delivery, Destination
from approvals.desk_messages import desk_messages
from approvals.models import Decision
from approvals.operations.attention import READ, attention_count, attention_for
from approvals.operations.items import grouped
from audit.sealing.status import sealing_state
from common.actors import Actor, Role, Scope
from common.postgres import clock
from dashboard.health import checks
from dashboard.health.checks import Finding
from dashboard.hosts import other_versions
from dashboard.templatetags.desk import distance
from mirror.models import Connection
from policy.models import KillSwitch
from policy.rules.names import problems_now
from policy.rules.rules import RuleError

# The roles of an actor who sees everything, so that each finding names the page on
# which it can be resolved.
_SCOPES = (Scope(Role.ADMIN), Scope(Role.REVIEWER))
_NOT_RUNNING = Finding(
    "The desk is not running: nothing is received, decided or sent.",
    "Start it with ./run. Its background work is not checked here; the pages named below work once it runs.",
)
_JUST_STARTED = Finding(
    "The desk started less than a minute ago: its background work is not checked yet.",
    "Run this again in a minute.",
    needs_action=False,
)
# Kinds of items that need no person while the desk does not run, or has only just
# started.
_ONLY_WHILE_RUNNING = "stalled overdue unread connection silent late ledger".split()
# Exit statuses.
ACT = 2
NOT_EXAMINED = 3
ACTOR = Actor(
    kind="command", id="doctor", label="doctor", surface="command", scopes=_SCOPES
)


class Command(BaseCommand):
    """Changes nothing, and prints no secret."""

    help = (
        "Lists problems that need a person, with their causes. Exit status: 0 none, 2 some, 3 the desk could not be "
        "checked (for instance because PostgreSQL is not responding). Any other status means that the command itself "
        "failed."
    )
    # It must also work without the database.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        facts: list[str] = []
        findings = list(_examine(facts))
        if checks.is_desk_stopped():
            findings.insert(0, _NOT_RUNNING)
        stuck = [finding for finding in findings if finding.needs_action]
        worth_knowing = [finding for finding in findings if not finding.needs_action]
        self._list("Needs attention", stuck)
        self._list("For information", worth_knowing)
        self.stdout.write("\n".join(map(_plain, facts)))
        if any(finding.prevents_checks for finding in stuck):
            self.stdout.write("\nThe desk could not be checked.")
            sys.exit(NOT_EXAMINED)
        if stuck:
            self.stdout.write(
                f"\n{len(stuck)} thing{'s need' if len(stuck) > 1 else ' needs'} a person."
            )
            sys.exit(ACT)
        self.stdout.write("\nNothing needs attention.")

    def _list(self, title: str, findings: list[Finding]) -> None:
        if not findings:
            return
        self.stdout.write(f"{title}:")
        for finding in findings:
            self.stdout.write(_plain(f"  - {finding.sentence}"))
            if finding.advice:
                self.stdout.write(_plain(f"    {finding.advice}"))
        self.stdout.write("")


def _examine(facts: list[str]) -> Iterator[Finding]:
    """Yield every finding, and append lines about the desk to `facts`."""
    if reason := checks.database_error():
        yield Finding(
            f"PostgreSQL is not responding: {reason}",
            "Nothing is received or decided until it is back. Other problems cannot be checked.",
            prevents_checks=True,
        )
    yield from checks.examine_disk()
    yield from checks.examine_proxy()
    yield from checks.examine_redis(facts)
    if reason:
        return
    yield from checks.examine_postgresql(facts)
    try:
        for host in other_versions():
            yield Finding(
                f"The host {host} runs another version than this one.",
                "Run the same version on all hosts.",
            )
        yield from _check_policy()
        for destination in Destination.objects.switched_off():
            since = _moment(destination.switched_off_at)
            yield Finding(
                f"Alerts to {destination} are switched off since {since}: {destination.switched_off_because}",
                f"Nobody is notified there. See {_url('/alerts/')}",
            )
        if dead := Delivery.objects.dead_lately().count():
            yield Finding(
                f"{dead} alerts could not be delivered in the last 24 hours.",
                f"See {_url('/alerts/')}",
                needs_action=False,
            )
        state = sealing_state(clock())
        # Once sealing is late, _check_desk reports it. This reports that it has
        # stopped but is not late yet, and what needs no person.
        if state.is_stopped and not state.is_late:
            yield Finding(
                f"Sealing of the ledger has stopped. {state.why}", state.advice
            )
        elif state.why and not (state.is_on and state.is_late):
            yield Finding(state.why, state.advice, needs_action=False)
        if checks.is_desk_stopped():
            yield from _check_desk(without=_ONLY_WHILE_RUNNING)
        elif checks.is_starting() or checks.is_warming_up():
            yield _JUST_STARTED
            yield from _check_desk(without=(*_ONLY_WHILE_RUNNING, "unknown"))
        else:
            yield from _check_workers()
            yield from _check_desk()
        waiting = desk_messages().awaiting_review().count()
        leaving = Decision.objects.live().count()
        connections = Connection.objects.at_work().count()
        facts.append(
            f"{connections} connection{'s' if connections != 1 else ''}, "
            f"{waiting} {'message waits' if waiting == 1 else 'messages wait'}, "
            f"{leaving} {'decision is' if leaving == 1 else 'decisions are'} on the way."
        )
    except DatabaseError as error:
        # Missing migrations are reported already, and explain this error.
        if not checks.pending_migrations():
            yield Finding(
                f"The desk's tables cannot be read ({type(error).__name__}).",
                "See PostgreSQL's log.",
                prevents_checks=True,
            )


def _check_workers() -> Iterator[Finding]:
    for job in checks.silent_jobs():
        since = f"since {_moment(job.since)}" if job.since else "so far"
        yield Finding(
            f"{job.what}: no worker has been seen {since}.",
            "Start the desk with ./run. If it is running, see the worker's log in DATA_DIR/log.",
        )
    if not checks.parser_answers():
        yield Finding(
            "The parser is not running: no message can be read or shown.",
            "See parser.log in DATA_DIR/log.",
        )
    if late := Delivery.objects.overdue().count():
        yield Finding(
            f"{late} alerts are overdue.",
            "Their worker is not running, or the services that they go to are slow.",
        )


def _check_policy() -> Iterator[Finding]:
    """Yield kill switches, and problems of the active rules, such as a rule that nobody
    can satisfy.
    """
    for switch in KillSwitch.objects.visible_to(ACTOR):
        yield Finding(
            f"{switch.pulled_by} pulled the {switch} at {_moment(switch.pulled_at)}: {switch.reason}",
            f"An admin can release it at {_url('/stop/')}",
        )
    try:
        problems = problems_now()
    except RuleError as error:
        yield Finding(
            f"The rules of the policy cannot be read: {error.sentence}",
            "Until then nothing can be approved.",
        )
        return
    for problem in problems:
        advice = "An admin changes the rule."
        if problem.blocks:
            advice = "Nobody can approve the messages that it applies to. An admin changes the rule or the group."
        yield Finding(problem.sentence, advice, needs_action=problem.blocks)


def _check_desk(*, without: Sequence[str] = ()) -> Iterator[Finding]:
    items = attention_for(ACTOR, clock())
    for group in grouped(one for one in items if one.kind not in without):
        # A URL that only accepts POST cannot be opened: name the page with its button.
        page = "/attention/" if group.act is None or group.act.posts else group.act.url
        why = f" {group.first.why}" if group.first.why else ""
        since = f"{'the oldest ' if group.number > 1 else ''}since {_moment(group.first.since)}"
        yield Finding(
            f"{group.what}, {since}.{why}", f"{group.first.advice} {_url(page)}"
        )
    more = attention_count(ACTOR) - len(items)
    if more > 0 and not without:
        yield Finding(
            f"{more} more items need attention; only the {READ} oldest of each kind are counted above.",
            f"See {_url('/attention/')}",
        )


def _url(path: str) -> str:
    """Return the URL of a page. If the desk is not running, return only the path,
    because the port may change at the next start.
    """
    return path if checks.is_desk_stopped() else f"{settings.PUBLIC_URL}{path}"


def _moment(at: datetime | None) -> str:
    if at is None:
        return "never"
    age = distance(at)
    return f"{at:%-d %b, %H:%M:%S} UTC ({age if age == 'just now' else f'{age} ago'})"


def _plain(text: str) -> str:
    """Return a text for the terminal, with control characters replaced. Subjects of
    messages can contain any.
    """
    plain = ""
    for character in text:
        plain += character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
    return plain

"""How much longer does the request take that decides, with notices than without, while
3,000 messages wait for 50 people by name, and what does it take to tell them?
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import add_messages, lift_caps, make_desk
from benchmarks.serving import own_database, prepare

PEOPLE = sized(50, smoke=3)
MESSAGES = sized(3000, smoke=12)
# Decisions of each side, in turn.
DECISIONS = sized(200, smoke=2)
GOAL = 1.05
# Statements of the database for each message that is assigned to somebody.
STATEMENTS = 12


class Mails:
    """A stand-in for a session with a mail server; counts the mails."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendmail(self, _sender: str, _to: list[str], mail: bytes) -> None:
        """Accept a mail."""
        self.sent.append(mail)

    def quit(self) -> None:
        """End the session."""


def measure() -> Result:
    """Assign all messages, plan the notices, mail them, then decide some with notices
    and some without, in turn.
    """
    with own_database(), ExitStack() as stack:
        prepare()
        from django.conf import settings

        from mirror.models import Message

        settings.EMAIL_URL = "smtp://mail.example"
        mails = Mails()
        stack.enter_context(patch("common.desk_mail.connect", lambda *_, **__: mails))
        connection, client = make_desk()
        lift_caps()
        add_messages(connection, first=1, last=MESSAGES)
        messages = list(Message.objects.order_by("pk"))
        assign(messages)
        planning, statements = plan()
        mailing = send_mails()
        sides = decide(client, messages)
    on, off = (statistics.median(side) * 1000 for side in sides)
    notices = len(messages)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("notices made", notices, ""),
            Figure("mails that tell of them", len(mails.sent), ""),
            Figure("time of planning one", planning / notices * 1000, "ms"),
            Figure("time of mailing, for one", mailing / notices * 1000, "ms"),
            Figure("a request that decides", on, "ms"),
        ),
        control=Figure("the same without notices", off, "ms"),
        goals=(
            Goal("ratio", on / off, GOAL),
            Goal("statements of planning one", statements / notices, STATEMENTS),
            Goal("mails for each person", len(mails.sent) / PEOPLE, 1),
        ),
    )


def assign(messages: list[Any]) -> None:
    """Assign the messages to the people in turn, by hand of an admin."""
    from approvals.escalation.handling import assign_by_hand
    from people.models import Person
    from tests.factories import make_person

    admin = make_person("admin@yourteam.example", "Admin", "admin")
    actor = admin.actor(surface="web")
    people = [Person.objects.get(name="Bench").pk]
    people += [
        make_person(f"p{n}@yourteam.example", f"Person {n}", "reviewer").pk
        for n in range(1, PEOPLE)
    ]
    for n, message in enumerate(messages):
        to = people[n % PEOPLE]
        assign_by_hand(message=message.public_id, to=to, actor=actor)


def plan() -> tuple[float, int]:
    """Plan what waits; return the seconds and the number of statements."""
    from django.db import connection

    from alerts.deliveries.planning import plan_waiting

    statements = 0

    def count(execute: Any, *args: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*args)

    with connection.execute_wrapper(count):
        began = time.perf_counter()
        plan_waiting()
        return time.perf_counter() - began, statements


def send_mails() -> float:
    """Send all mails as if their time had come; return the seconds."""
    from django.db.models.functions import Now

    from alerts.deliveries.deliver import deliver
    from alerts.models import Delivery, Destination

    Delivery.objects.update(next_attempt_at=Now())
    began = time.perf_counter()
    for key in Destination.objects.values_list("pk", flat=True):
        while deliver(destination_id=key) == "delivered":
            Destination.objects.update(waits_until=None)
    return time.perf_counter() - began


def decide(client: Any, messages: list[Any]) -> tuple[list[float], list[float]]:
    """Approve messages by the page; return the seconds of each request with notices,
    and of each without, in turn.
    """
    sides: tuple[list[float], list[float]] = ([], [])
    for n, message in enumerate(messages[: 2 * DECISIONS]):
        with ExitStack() as stack:
            if n % 2:
                stack.enter_context(no_notices())
            began = time.perf_counter()
            answer = client.post(
                f"/queue/{message.public_id}/verdict/",
                {"outcome": "approve", "fingerprint": message.fingerprint},
                headers={"HX-Request": "true"},
            )
            sides[n % 2].append(time.perf_counter() - began)
        if answer.status_code != 200:
            raise RuntimeError(f"the verdict was answered with {answer.status_code}")
    return sides


@contextmanager
def no_notices() -> Iterator[None]:
    """Let no act be told to people, and no page count what was."""
    from alerts.deliveries import planning
    from notices import planning as notices

    others = planning.PLANNED_ACTIONS - (notices.ACTIONS - planning._FOR_DESTINATIONS)
    with (
        patch.object(planning, "PLANNED_ACTIONS", others),
        patch("dashboard.frame.context.unread_count", lambda _: 0),
        patch.dict("approvals.polling.MORE", {"notices": lambda _: 0}),
    ):
        yield

"""No order of edits, approvals, moved times, stops, expiries and other rules sends a
message twice, or with fewer approvals than the policy asks when it leaves.

Everything is real, up to the mail server: the desk's commands and its executor, and our
gateway over HTTP.
"""

from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import example, given
from hypothesis import strategies as st

from approvals.decisions.by_rule import apply_policy, expire_due
from approvals.decisions.execute import run_decision
from approvals.editing import send
from approvals.editing.send import run_replacement
from approvals.models import Decision, Replacement, Verdict
from common.errors import SentenceError
from common.postgres import clock
from gateway.models import Email
from mirror.models import Message
from people.models import Grant, Person
from policy import kill_switch
from policy.models import KillSwitch
from tests.factories import actor_of, change_row, put_in_force
from tests.integration.deciding import Killed, decide, die, make_due, read_all, undo
from tests.integration.gateway.world import add_key, leave, undone
from tests.integration.test_one_admin_alone import run
from tests.integration.test_ways_round import edit_of_it
from upstream.events import written_time

PEOPLE = ("ana", "ben", "cleo")


def person(number):
    name = PEOPLE[number % len(PEOPLE)]
    return Person.objects.get(email__startswith=f"{name}@")


def message(number):
    messages = list(Message.objects.order_by("pk"))
    return messages[number % len(messages)]


class Desk:
    """A message that an agent sent, what became of it, and what the policy asks now."""

    def __init__(self, account, is_scheduled):
        self.account = account
        self.edits = 0
        self.sent = set()
        at = clock() + timedelta(days=1)
        account.send(**{"send_at": written_time(at)} if is_scheduled else {})
        self.ask(1)
        self.read()

    def read(self):
        read_all(self.account.connection)

    def approve(self, number):
        decide(message(number // 3), person(number))

    def approve_all(self, number):
        """Everybody approves each version, or all but one person do."""
        for one in Message.objects.order_by("pk"):
            for other in range(len(PEOPLE)):
                with suppress(SentenceError):
                    if other != number:
                        decide(one, person(other))

    def edit(self, number):
        self.edits += 1
        row = edit_of_it(message(number // 3), person(number), self.edits)
        if number % 3 == 1:
            run_replacement(replacement_id=row.pk)
        elif number % 3 == 2:
            # The worker dies when the edited version is sent, and the first one is held.
            with patch.object(send, "_reject_first", die), suppress(Killed):
                run_replacement(replacement_id=row.pk)
        self.read()

    def go_on_editing(self, number):
        Replacement.objects.update(lease_until=None)
        for row in Replacement.objects.open():
            run_replacement(replacement_id=row.pk)
        self.read()

    def undo(self, number):
        undo(message(number // 3), person(number))

    def move(self, number):
        at = clock() + timedelta(minutes=1 + number % 3 * 800)
        path = f"{self.account.world.base}/emails/{message(number).upstream_id}"
        moved = {"send_at": written_time(at)}
        self.account.ask("PATCH", f"{path}/schedule", key="agent", json=moved)
        self.read()

    def stop(self, number):
        pulled = KillSwitch.objects.pulled().first()
        admin = actor_of(Person.objects.get(email__startswith="ida@"))
        if pulled:
            kill_switch.release(switch_id=pulled.pk, actor=admin)
        else:
            kill_switch.pull(actor=admin, reason="Stop.")

    def hold(self, number):
        on = bool(number % 2)
        self.account.ask("PATCH", "/v1/account", json={"hold_all": on})

    def expire(self, number):
        change_row(message(number), expires_at=Now() - timedelta(seconds=1))
        expire_due()

    def ask(self, number):
        self.needed = 1 + number % 3
        self.bars_editor = number % 2 == 0
        asked = {"approvals": {"0": self.needed}, "bar_editor": self.bars_editor}
        # A rule that asks for one approval alone asks for nothing.
        put_in_force({**asked, "sentences": ["Look."]})
        apply_policy()

    def change_role(self, number):
        one = person(number)
        if not one.grants.all().delete()[0]:
            Grant.objects.create(person=one, role="reviewer")

    def work(self, number):
        """Time passes, and the workers do what is due; check what left."""
        approvals = Verdict.objects.filter(
            outcome="approve",
            live=True,
            revision=F("message__revision"),
            person__grants__role="reviewer",
        )
        given = set(approvals.values_list("message__upstream_id", "person"))
        late = Message.objects.filter(expires_at__lte=Now())
        expired = {one.upstream_id for one in late}
        is_stopped = KillSwitch.objects.pulled().exists()
        make_due()
        for key in Decision.objects.due().values_list("pk", flat=True):
            run_decision(decision_id=key)
        Email.objects.filter(status="scheduled").update(due_at=Now())
        for email in Email.objects.filter(status="scheduled"):
            leave(email)
        left = {str(one.pk) for one in Email.objects.filter(status="sent")} - self.sent
        self.sent |= left
        for upstream_id in left:
            givers = {one for of, one in given if of == upstream_id}
            if self.bars_editor:
                givers -= editors_of(Message.objects.get(upstream_id=upstream_id))
            assert len(givers) >= self.needed
            assert not is_stopped
            assert upstream_id not in expired
        self.read()


def editors_of(one):
    """Who edited it, or a version before."""
    made = Replacement.objects.that_made([one]).first()
    return {made.person_id, *editors_of(made.message)} if made else set()


# What moves things on is drawn more often.
ACTS = """
approve approve approve_all approve_all approve_all approve_all edit edit edit edit
go_on_editing undo move stop hold expire ask ask ask change_role work work work work
"""
STEP = st.tuples(st.sampled_from(ACTS.split()), st.integers(0, 17))


@pytest.fixture
def people(reviewer, second_reviewer, third, admin, account):
    account.connection.agent_key = add_key(account.world, "edits", ["send", "read"])
    account.connection.save()


def hold(account, mail_server, is_scheduled, acts):
    """Do all of this; nothing may leave twice, or with too few approvals."""
    before = len(mail_server.taken)
    with undone():
        desk = Desk(account, is_scheduled)
        for act, number in acts:
            with suppress(SentenceError):
                getattr(desk, act)(number)
            # All messages are versions of one.
            assert len(desk.sent) <= 1
        desk.work(0)
        assert len(desk.sent) == len(mail_server.taken) - before <= 1
        return len(desk.sent)


# Each sends twice if approvals do not look at the other versions of a message.
LEFT_HALF = [("edit", 2), ("approve_all", 9)]
SENT_ON = [("edit", 2), ("approve", 0), ("approve", 1), ("work", 0), *LEFT_HALF[1:]]


@run(1, 80)
@example(False, LEFT_HALF)
@example(True, SENT_ON)
@given(st.booleans(), st.lists(STEP, min_size=5, max_size=12))
def test_no_order_of_acts_sends_twice_or_with_too_few_approvals(
    people, account, mail_server, is_scheduled, acts
):
    hold(account, mail_server, is_scheduled, acts)


# Else the laws might hold because nothing leaves.
def test_message_that_enough_people_approve_leaves(people, account, mail_server):
    acts = [("ask", 1), ("approve", 0), ("approve", 1), ("work", 0)]
    for is_scheduled in (False, True):
        assert hold(account, mail_server, is_scheduled, acts) == 1

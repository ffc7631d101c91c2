"""Approving for later: the times on offer, what is shown until then, and everything
that can happen before.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now

from approvals import tasks
from approvals.decisions.execute import run_decision
from approvals.decisions.later import LaterChoice, delay_in_words, timing_of
from approvals.errors import VerdictNotAllowed
from approvals.models import Decision
from common.postgres import clock
from gateway.models import Email
from mirror.models import Message
from policy.models import WorkCalendar
from tests.factories import (
    change_row,
    make_connection,
    make_list,
    make_message,
    pending_row,
    put_in_force,
    reject_others,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide, expires, post_verdict, read_all
from tests.integration.gateway.world import leave, status_of
from tests.ledger import latest_details
from tests.markup import HTMX
from upstream.events import written_time

BERLIN = ZoneInfo("Europe/Berlin")
WINDOW = timedelta(seconds=5)


@pytest.fixture
def message(upstream):
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, status="approved_and_sent", decision="approved")
    return message


def in_days(days):
    return f"{clock().astimezone(BERLIN) + timedelta(days=days):%Y-%m-%d}T09:00"


def approve(client, message, **fields):
    """Press "Approve for later" for nine in Berlin, two days ahead, or with these
    fields.
    """
    chosen = {"when": "time", "at": in_days(2), "zone": "Europe/Berlin", **fields}
    return post_verdict(client, message, headers=HTMX, later="yes", **chosen)


@pytest.fixture
def later(desk, message):
    """An approval for nine in Berlin, two days ahead."""
    assert approve(desk, message).status_code == 200
    return Decision.objects.get()


def time_comes(decision, **ago):
    """Let the chosen time come, or have come so long ago."""
    at = Now() - timedelta(**ago)
    change_row(decision, due_at=at, later_at=at)


def run(decision):
    return run_decision(decision_id=decision.pk)


def page(client, message):
    return " ".join(client.get(f"/queue/{message.public_id}/").text.split())


def chosen(now, when, zone):
    """Return the chosen time on a clock there; `now` is in UTC."""
    choice = LaterChoice(when, ZoneInfo(zone), None)
    message = Message(
        direction="outbound", recipients=["Dana <Dana@Northwind.example>"]
    )
    fields = timing_of(
        choice,
        message,
        now=datetime.fromisoformat(now).replace(tzinfo=UTC),
        window=WINDOW,
        thread_read=0,
    )
    assert fields["later_domain"] == "northwind.example"
    return (
        f"{fields['due_at'].astimezone(ZoneInfo(zone)):%a %d %b %H:%M:%S %z}",
        fields["later_at"] is not None,
    )


TIMES = [
    ("2026-11-20 22:30", "tomorrow", "Europe/Berlin", "Sat 21 Nov 09:00:00 +0100"),
    # Clocks change in the night before.
    ("2026-03-28 12:00", "tomorrow", "Europe/Berlin", "Sun 29 Mar 09:00:00 +0200"),
    ("2026-03-27 20:00", "hours", "Europe/Berlin", "Mon 30 Mar 09:00:00 +0200"),
    # The undo window ends after the working day.
    ("2026-11-20 15:59:58", "hours", "Europe/Berlin", "Mon 23 Nov 09:00:00 +0100"),
    ("2026-11-22 23:30", "hours", "Pacific/Auckland", "Mon 23 Nov 12:30:05 +1300"),
]


def test_times_are_those_of_the_zone_that_was_chosen():
    for now, when, zone, expected in TIMES:
        # During working hours it is sent at once, like any approval.
        is_later = "12:30:05" not in expected
        assert chosen(now, when, zone) == (expected, is_later), (now, when)


def test_approval_for_later_is_shown_with_its_time_recorded_and_undone(
    desk, signed_in, second_reviewer, message, later
):
    when = f"{later.later_at.astimezone(BERLIN):%a %-d %b}, 09:00 (Europe/Berlin)"
    assert later.due_at == later.later_at
    assert later.later_zone == "Europe/Berlin"
    assert later.later_domain == "northwind.example"
    for action in ("verdict.given", "decision.recorded"):
        assert latest_details(action)["later"] == when
    # No page asks again every few seconds.
    shown = page(desk, message)
    assert f"Sends {when}." in shown
    assert "data-moving" not in shown.partition('id="message"')[2].partition(">")[0]
    # Undoing others of its sheet does not bring it forward.
    assert Decision.objects.postpone(timedelta(seconds=30)) == 0
    # Nothing happens before its time, whatever a host's clock says.
    tasks.sweep()
    assert run(later) == "not due"
    other = signed_in(second_reviewer)
    assert f"to be sent {when}" in post_verdict(other, message).text
    assert other.post(f"/queue/{message.public_id}/undo/").status_code == 302
    later.refresh_from_db()
    assert later.state == "undone"
    # The zone is offered again for this domain, and for no other.
    assert 'value="Europe/Berlin"' in page(other, message)
    stranger = make_message(message.connection, to_addresses=["kim@elsewhere.example"])
    assert "Last chosen" not in page(other, stranger)


def test_workers_that_were_away_over_the_time_send_it_late_once_and_say_so(
    message, later, reviewer, upstream
):
    time_comes(later, hours=3)
    assert run(later) == "applied"
    assert run(later) == "not due"
    assert len(upstream.decisions) == 1
    assert latest_details("decision.calling")["explanation"] == "3 h later than chosen"
    later.refresh_from_db()
    # Working hours were chosen, and it was sent after them.
    later.later_at = datetime(2026, 11, 20, 15, tzinfo=UTC)
    later.in_working_hours = True
    late = delay_in_words(later, at=later.later_at + timedelta(hours=2))
    assert late == "2 h later than chosen, outside working hours"


def scheduled_for(message, upstream, at):
    """Let MultiMail hold the message with this time of sending, and the desk show it."""
    show_row(message, send_at=written_time(at))
    upstream.holds(pending_row(message.upstream_id, send_at=written_time(at)))
    message.refresh_from_db()


def test_scheduled_message_is_approved_for_its_time_and_the_policy_is_asked_then(
    message, reviewer, upstream
):
    scheduled_for(message, upstream, clock() + timedelta(hours=2))
    decision = decide(message, reviewer).decision
    assert decision.due_at == decision.later_at > clock() + timedelta(minutes=100)
    assert run(decision) == "not due"
    put_in_force({"approvals": {"0": 2}})
    time_comes(decision)
    assert run(decision) == "refused"
    assert upstream.decisions == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("hours", "within the hours of Office"),
        ("expiry", "expires before that time"),
        ("entry", "Nobody else may be written to"),
    ],
)
def test_what_is_asked_at_the_time_of_leaving_is_asked_when_it_is_approved(
    message, reviewer, upstream, asked, why
):
    now = clock()
    scheduled_for(message, upstream, now + timedelta(days=1))
    office = WorkCalendar.objects.create(
        name="Office",
        zone="UTC",
        weekly=[[[0, 1440]]] * 7,
        holidays={f"{now + timedelta(days=1):%Y-%m-%d}": "Holiday"},
    )
    if asked == "hours":
        put_in_force({"office_hours": [office.pk]})
    elif asked == "expiry":
        expires(hours=20)
    else:
        allowed = make_list("northwind.example")
        reject_others(allowed)
        allowed.entries.update(expires_at=now + timedelta(hours=20))
    with pytest.raises(VerdictNotAllowed, match=why):
        decide(message, reviewer)


def test_our_gateway_is_told_until_when_it_may_leave(message, reviewer, upstream):
    """What it does with that: test_gateway_outbox.py."""
    office = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[0, 1440]]] * 7, holidays={}
    )
    put_in_force({"office_hours": [office.pk]})
    for minutes in (None, 1):
        with rolled_back():
            upstream.calls.clear()
            decision = decide(message, reviewer).decision
            change_row(decision, due_at=Now())
            midnight = f"{clock() + timedelta(days=1):%Y-%m-%d}T00:00:00.000Z"
            if minutes:
                expires(minutes=minutes)
            assert run(decision) == "applied"
            [told] = upstream.decisions
            assert (told["leave_by"] == midnight) == (minutes is None)
            assert told["leave_by"] <= midnight


def test_our_gateway_is_told_when_a_recipient_is_on_no_list_any_more(
    message, reviewer, upstream
):
    now = clock()
    soon, later = now + timedelta(hours=1), now + timedelta(hours=2)
    allowed = make_list("northwind.example", "dana@northwind.example")
    reject_others(allowed)
    for domain_ends, address_ends, ends in (
        (None, soon, None),
        (later, soon, later),
        (soon, later, later),
    ):
        entries = allowed.entries
        entries.filter(pattern="northwind.example").update(expires_at=domain_ends)
        entries.exclude(pattern="northwind.example").update(expires_at=address_ends)
        with rolled_back():
            upstream.calls.clear()
            decision = decide(message, reviewer).decision
            change_row(decision, due_at=Now())
            assert run(decision) == "applied"
            [told] = upstream.decisions
            assert told.get("leave_by") == (ends and written_time(ends))


def test_agent_cannot_move_what_was_approved_for_another_time(
    account, reviewer, mail_server
):
    account.send(send_at=written_time(clock() + timedelta(days=1)))
    read_all(account.connection)
    message = Message.objects.get()
    decision = decide(message, reviewer).decision
    for now in (False, True):
        if now:
            # As hosted MultiMail, or another program, approves before the time.
            change_row(decision, due_at=Now())
        # The undo window is over.
        soon = Decision.objects.filter(due_at__lt=Now() + timedelta(minutes=1))
        soon.update(due_at=Now())
        run(decision)
        soon = written_time(clock() + timedelta(minutes=1))
        path = f"{account.world.base}/emails/{message.upstream_id}/schedule"
        account.ask("PATCH", path, key="agent", json={"send_at": soon})
        # That minute passes.
        Email.objects.filter(status="scheduled").update(due_at=Now())
        assert leave(message.upstream_id) == "not due"
        assert status_of(message.upstream_id) == "pending_send_approval"
    assert mail_server.taken == []


@pytest.mark.slow
def test_approval_that_cannot_be_carried_out_any_more_is_refused_before_its_time(
    message, later, reviewer
):
    for change, sentence in (
        (lambda: show_row(message, subject="Another"), "content changed"),
        (lambda: expires(days=1), "now expires before the chosen time"),
    ):
        with rolled_back():
            change()
            tasks.sweep()
            later.refresh_from_db()
            assert later.state == "refused", sentence
            assert sentence in later.explanation, sentence
            message.refresh_from_db()
            # It can be decided again, at once.
            assert message.state == "held"
            Message.objects.update(expires_at=None)
            assert decide(message, reviewer).decision.state == "recorded"

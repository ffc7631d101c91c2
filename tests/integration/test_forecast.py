"""What will happen if nobody acts: the forecast says what then happens."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from alerts.deliveries.forecast import Kind, forecast
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination, Route
from common.postgres import clock
from notices.models import Notice, Preferences
from notices.preferences import after_quiet_time, preferences_of
from tests.factories import change_row, make_connection, make_message
from tests.integration.deciding import expires
from tests.integration.test_escalation import (
    HOUR,
    group_of,
    held_for,
    make_plan,
    on_duty,
)

pytestmark = pytest.mark.usefixtures("plans_at_once")


@pytest.fixture
def message():
    return make_message(make_connection())


@pytest.fixture
def plan(settings, message, reviewer, second_reviewer):
    """Ana is on duty; Ben has quiet hours now and the message then."""
    settings.EMAIL_URL = "smtp://mail.example"
    on_duty(reviewer)
    Preferences.objects.create(
        person=second_reviewer,
        quiet_from=(clock() - 2 * HOUR).time(),
        quiet_until=(clock() + 9 * HOUR).time(),
    )
    return make_plan(
        {"minutes": -60, "whom": "duty"},
        {"whom": "group", "group": group_of(second_reviewer), "act": "assign"},
        {"minutes": 60, "whom": "holder"},
        {"minutes": 90, "whom": "destinations"},
        {"minutes": 120, "whom": "holder"},
    )


def test_what_the_forecast_says_then_happens(message, plan, reviewer, second_reviewer):
    alerts = Destination.objects.create(name="#late")
    Route.objects.create(destination=alerts, actions=["message.late"])
    change_row(message, held_at=Now())
    message.refresh_from_db()
    expires(hours=9)
    message.refresh_from_db()
    expected = forecast(message, clock())

    def minutes_of(one):
        return round((one.at - message.held_at) / timedelta(minutes=1))

    ana, ben = str(reviewer), str(second_reviewer)
    assert [(minutes_of(one), one.kind.value, *one.names) for one in expected] == [
        (60, "notice", ana), (65, "mail", ana),
        (120, "assign", ben), (180, "notice", ben), (210, "alert", "#late"),
        # The last step comes in quiet hours too.
        (240, "notice", ben), (245, "mail", ben),
        (540, "mail", ben), (540, "expire"),
    ]  # fmt: skip
    for lasting, to, pause in (
        (61, reviewer, 5),
        (121, second_reviewer, 540),
        (181, second_reviewer, 540),
        (211, None, 0),
        (241, second_reviewer, 5),
    ):
        begun = clock()
        held_for(message, timedelta(minutes=lasting))
        plan_waiting()
        one = Delivery.objects.exclude(kind="card").latest("pk")
        late = Delivery.objects.filter(kind="card", action="message.late")
        assert late.exists() == (lasting >= 211)
        if to is not None:
            assert one.destination.owner == to
            at = one.next_attempt_at
            if not one.in_quiet_time:
                at = after_quiet_time(at, preferences_of(to))
            assert round((at - begun) / timedelta(minutes=1)) == pause
    # What is due already is told too.
    [*_, due] = [one for one in forecast(message, clock()) if one.kind == Kind.MAIL]
    assert due.names == (ben,)
    Notice.objects.update(read_at=Now())
    assert [one.kind for one in forecast(message, clock())] == [Kind.EXPIRE]


def test_the_pages_name_people_and_no_addresses(
    message, plan, signed_in, reviewer, auditor
):
    client = signed_in(auditor)
    change_row(message, held_at=Now())
    for page in (f"/queue/{message.public_id}/", "/review-plans/0/"):
        shown = client.get(f"{page}if-nobody-acts/").text
        assert f"Mail to {reviewer}" in shown
        assert reviewer.email not in shown
    auditor.grants.all().delete()
    hidden = client.get(f"/queue/{message.public_id}/if-nobody-acts/")
    assert hidden.status_code == 404
    assert str(reviewer) not in client.get("/review-plans/0/if-nobody-acts/").text

"""Snooze: hidden from one person's list until a time, or until something happens.
Others still see it.
"""

import json
import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.contrib.messages import get_messages
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from approvals.collaboration import add_comment, unsnooze_due, zone_of
from approvals.decisions.withdraw import undo_decision
from approvals.message_page.action_views import SnoozeForm, tomorrow_morning
from approvals.models import Snooze
from approvals.tasks import sweep
from audit.models import Entry
from mirror.models import Message
from tests.factories import NOW, actor_of, make_message, show_row
from tests.integration.deciding import decide
from tests.markup import HTMX


def snooze(client, message, headers=None, **fields):
    return client.post(
        f"/queue/{message.public_id}/snooze/", fields, headers=headers or {}
    )


def waiting(client, tab="waiting"):
    return [
        row["id"]
        for row in client.get(f"/queue/?format=json&tab={tab}").json()["messages"]
    ]


def set_snooze(message, person, **left):
    return Snooze.objects.create(
        message=message, person=person, until=Now() + timedelta(**(left or {"days": 1}))
    )


def ended(message):
    entries = (
        Entry.objects.of_message(message.public_id)
        .of_action("snooze.ended")
        .select_related("detail")
    )
    return [one.detail.fields["explanation"] for one in entries.oldest_first()]


def test_snoozed_message_leaves_only_ones_own_list_and_is_under_mine(
    signed_in, reviewer, second_reviewer, connection
):
    message = make_message(connection, subject="One")
    second = make_message(connection, subject="Two")
    client = signed_in(reviewer)
    answer = snooze(client, message, wait="tomorrow")
    assert answer.status_code == 302
    assert answer["Location"] == f"/queue/{second.public_id}/"
    # The time can be changed; with scripts the next message follows.
    answer = snooze(client, message, headers=HTMX, wait="hour")
    assert json.loads(answer["HX-Location"])["path"] == f"/queue/{second.public_id}/"
    until = Snooze.objects.get().until
    assert timedelta(minutes=50) < until - timezone.now() < timedelta(minutes=61)
    # A decided message cannot be snoozed.
    decide(second, second_reviewer)
    assert snooze(client, second, wait="hour", headers=HTMX).status_code == 422
    assert Snooze.objects.get().message == message
    assert waiting(signed_in(second_reviewer)) == [str(message.public_id)]
    client = signed_in(reviewer)
    assert waiting(client) == []
    mine = client.get("/queue/?tab=mine").text
    path = re.search(r'action="([^"]+/snooze/end/[^"]*)"', mine)[1].replace(
        "&amp;", "&"
    )
    assert client.post(path, {"to": "list"})["Location"] == "/queue/?tab=mine"
    assert waiting(client) == [str(message.public_id)]
    assert ended(message) == ["By Ana Ferreira."]


ZONES = [
    # The person's zone; the browser's zone counts only where none is set.
    ("Pacific/Auckland", "Europe/Lisbon", "Pacific/Auckland"),
    ("", "Asia/Tokyo", "Asia/Tokyo"),
    ("", "../etc", "UTC"),
]


def test_tomorrow_is_nine_in_ones_own_zone_or_the_browsers(
    signed_in, reviewer, message
):
    for own, browser_zone, expected in ZONES:
        form = SnoozeForm({"wait": "tomorrow", "zone": browser_zone})
        assert form.is_valid()
        zone = zone_of(own, form.cleaned_data["zone"])
        there = form.until(now=NOW, zone=zone).astimezone(ZoneInfo(expected))
        here = NOW.astimezone(ZoneInfo(expected))
        assert (there.hour, there.minute) == (9, 0), (own, browser_zone)
        assert there.date() == here.date() + timedelta(days=1), (own, browser_zone)
    zone = ZoneInfo("Europe/Berlin")
    morning = tomorrow_morning(datetime(2026, 3, 28, 23, 30, tzinfo=zone), zone)
    assert morning.isoformat() == "2026-03-29T09:00:00+02:00", (
        "on the day the clocks change"
    )

    client = signed_in(reviewer)
    assert snooze(client, message, wait="tomorrow", zone="\0").status_code == 422
    # A custom time is read in the person's zone too.
    reviewer.time_zone = "Asia/Tokyo"
    reviewer.save()
    at = timezone.now() + timedelta(days=2)
    snooze(
        client, message, wait="time", at=f"{at:%Y-%m-%d}T14:30", zone="Europe/Lisbon"
    )
    assert Snooze.objects.get().until.isoformat().startswith(f"{at:%Y-%m-%d}T05:30")


IMPOSSIBLE = [
    ({"wait": "time", "at": "2001-01-01T09:00"}, "That time is in the past"),
    ({"wait": "time", "at": "9999-01-01T09:00"}, "at most 30 days"),
    ({"wait": "time", "at": "soon"}, "Enter"),
    ({"wait": "time"}, "Enter"),
    ({"wait": "for ever"}, "Choose how long"),
    ({}, "Choose how long"),
]


def test_impossible_time_is_an_error_and_stays_in_the_field(
    signed_in, reviewer, message
):
    for fields, words in IMPOSSIBLE[2:]:
        form = SnoozeForm(fields)
        assert not form.is_valid(), fields
        assert words in form.first_error(), fields
    client = signed_in(reviewer)
    for fields, words in IMPOSSIBLE[:2]:
        answer = snooze(client, message, headers=HTMX, **fields)
        page = answer.text
        assert answer.status_code == 422
        assert words in page
        assert f'value="{fields["at"]}"' in page
    assert Snooze.objects.count() == 0


def test_snooze_ends_an_hour_before_the_message_expires_and_says_so(
    signed_in, reviewer, message
):
    Message.objects.update(expires_at=Now() + timedelta(hours=3))
    client = signed_in(reviewer)
    answer = snooze(client, message, wait="tomorrow")
    (notice,) = get_messages(answer.wsgi_request)
    assert "an hour before it expires" in notice.message
    assert (
        Snooze.objects.filter(
            until=F("message__expires_at") - timedelta(hours=1)
        ).count()
        == 1
    )
    # In its last hour it returns and cannot be snoozed.
    Message.objects.update(expires_at=Now() + timedelta(minutes=59))
    sweep()
    assert Snooze.objects.count() == 0
    answer = snooze(client, message, wait="hour")
    assert answer.status_code == 422
    assert "expires within an hour" in answer.text


def test_message_comes_back_at_its_time_or_when_something_happens_and_the_ledger_says_so(
    signed_in, reviewer, second_reviewer, admin, message
):
    set_snooze(message, reviewer, seconds=60)
    assert unsnooze_due() == 0
    Snooze.objects.update(until=Now() - timedelta(seconds=1))
    client = signed_in(reviewer)
    assert waiting(client) == [str(message.public_id)]
    assert waiting(client, "mine") == []
    assert unsnooze_due() == 1

    set_snooze(message, reviewer)
    show_row(message, markdown="Another text.")
    set_snooze(message, reviewer)
    set_snooze(message, admin)
    actor = actor_of(second_reviewer)
    add_comment(message=message.public_id, actor=actor, text="@Ana Ferreira?")
    assert Snooze.objects.get().person == admin, (
        "to whom somebody asks, and to nobody else"
    )
    Snooze.objects.all().delete()
    set_snooze(message, reviewer)
    decide(message, second_reviewer)
    undo_decision(message=message.public_id, actor=actor)
    assert waiting(client) == [str(message.public_id)]
    assert ended(message) == [
        "The time is over.", "The message changed.", "Somebody asks about it.", "The message was decided.",
    ]  # fmt: skip

"""A person's own account: who they are, their name, and the time zone that the desk's
times follow.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.utils.functional import SimpleLazyObject

from audit.models import Entry
from common import time_zones as zones
from common.forms import first_error
from dashboard.frame.middleware import ActorMiddleware
from dashboard.templatetags.desk import clock, instant, moment
from people.accounts.views import NameForm, TimeZoneForm
from people.models import Person
from tests.factories import make_message
from tests.markup import leads_to, says

WINTER = datetime(2026, 11, 20, 10, 42, 7, tzinfo=UTC)
SUMMER = WINTER.replace(month=7)


def plain(html):
    return re.sub(r"<[^>]+>", "", str(html))


def test_name_change_is_recorded_once(signed_in, reviewer):
    client = signed_in(reviewer)
    path = "/people/me/name/"
    for _ in range(2):
        answer = client.post(path, {"name": "  Ana F. Ferreira "})
        assert leads_to(answer) == "/people/me/"
    reviewer.refresh_from_db()
    assert reviewer.name == "Ana F. Ferreira"
    fields = Entry.objects.get(action="person.renamed").detail.fields
    assert fields["before"] == "Ana Ferreira"
    assert fields["after"] == "Ana F. Ferreira"
    assert "Enter your name" in first_error(NameForm({"name": "   "}))[1]
    answer = client.post(path, {"name": "x" * 81})
    says(answer, 422, "under 80")
    assert re.search(r'id="own-name"[^>]*aria-invalid="true"', answer.text)


def test_time_zone_is_set_and_recorded_and_an_invalid_one_stays_in_the_field(
    signed_in, reviewer
):
    client = signed_in(reviewer)
    path = "/people/me/time-zone/"
    for typed in ("../../etc/passwd", "Etc/GMT+3", "x" * 65):
        assert first_error(TimeZoneForm({"zone": typed}))[0] == "zone", typed
    answer = client.post(path, {"zone": typed})
    assert answer.status_code == 422
    kept = rf'id="own-zone"[^>]*value="{typed}"[^>]*aria-invalid="true"'
    assert re.search(kept, answer.text)
    assert Person.objects.get(pk=reviewer.pk).time_zone == "UTC"
    for typed in ("Europe/Lisbon", "europe/berlin "):
        client.post(path, {"zone": typed})
    assert Person.objects.get(pk=reviewer.pk).time_zone == "Europe/Berlin"
    entries = Entry.objects.filter(action="person.time_zone_set").oldest_first()
    after = [one.detail.fields["after"] for one in entries]
    assert after == ["Europe/Lisbon", "Europe/Berlin"]


def test_times_are_those_of_the_persons_zone_with_its_name():
    for zone, at, expected in (
        ("UTC", WINTER, "10:42:07 UTC"),
        ("Europe/Berlin", WINTER, "11:42:07 CET"),
        ("Europe/Berlin", SUMMER, "12:42:07 CEST"),
        ("America/Sao_Paulo", WINTER, "07:42:07 UTC-03"),
        ("Asia/Kolkata", WINTER, "16:12:07 IST"),
        ("Nowhere/Any_More", WINTER, "10:42:07 UTC"),
    ):
        with zones.somebodys_time(lambda: zone):  # noqa: B023
            shown = clock(at)
            assert plain(shown) == expected
            assert plain(instant(at)).endswith(expected)
            assert plain(moment(at)).endswith(expected.partition(" ")[0])
        # Machine-readable times stay in UTC.
        assert f'datetime="{at.isoformat(timespec="seconds")}"' in shown
        assert plain(clock(at)) == "10:42:07 UTC"


def test_pages_follow_the_zone_and_what_programs_read_does_not(
    signed_in, reviewer, connection
):
    message = make_message(connection)
    type(message).objects.update(held_at=SUMMER)
    Person.objects.update(time_zone="Europe/Lisbon")
    client = signed_in(reviewer)
    path = f"/queue/{message.public_id}/"
    page = client.get(path, headers={"HX-Request": "true"}).text
    assert "20 Jul, 11:42:07" in plain(page)
    assert 'datetime="2026-07-20T10:42:07+00:00"' in page
    # The zone of one person does not apply to the next.
    assert zones.zone_name() == "UTC"


def test_zone_counts_before_anything_asks_who_it_is_and_costs_nothing_where_no_time_is_shown(
    rf, reviewer
):
    reviewer.time_zone = "Asia/Tokyo"
    tells_zone = ActorMiddleware(lambda _: HttpResponse(zones.zone_name()))
    for user, expected in ((reviewer, "Asia/Tokyo"), (AnonymousUser(), "UTC")):
        request = rf.get("/")
        request.user = SimpleLazyObject(lambda: user)  # noqa: B023
        assert tells_zone(request).text == expected
        request.user = SimpleLazyObject(lambda: pytest.fail("nobody asked who it is"))
        ActorMiddleware(lambda _: HttpResponse())(request)


def test_dates_that_are_typed_are_days_of_the_persons_zone(
    signed_in, reviewer, connection
):
    message = make_message(connection, subject="About orchids")
    # In Tokyo it is the next day.
    at = datetime(2026, 7, 20, 16, tzinfo=UTC)
    type(message).objects.update(state="rejected", changed_at=at)
    Person.objects.update(time_zone="Asia/Tokyo")
    client = signed_in(reviewer)
    for day, is_found in (("2026-07-20", False), ("2026-07-21", True)):
        page = client.get(f"/history/?q=on:{day}").text
        assert ("About orchids" in page) == is_found, day


def test_no_page_calls_a_time_utc_that_is_shown_in_somebodys_zone():
    utc = re.compile(r"\|(moment|clock|day) ?}}( |&nbsp;)UTC")
    pages = Path(settings.BASE_DIR, "templates").rglob("*.html")
    assert [page.name for page in pages if utc.search(page.read_text())] == []

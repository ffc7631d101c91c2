"""A day and time that somebody types names one moment, or the form says why not: when
clocks change, an hour is left out or comes twice.
"""

from datetime import UTC, datetime

import pytest

from approvals.decisions.later import LaterForm
from approvals.escalation.views import ExtendForm
from approvals.message_page.action_views import SnoozeForm
from common.time_zones import somebodys_time
from people.reports import RightsForm
from policy.pages import read_line

SKIPPED = "2027-03-28T02:30"
TWICE = "2027-10-31T02:30"
LATER = {"later": "on", "when": "time", "zone": "Europe/Berlin"}


def later(at):
    form = LaterForm({**LATER, "at": at})
    form.is_valid()
    choice = form.choice_of(form.cleaned_data)
    return form, choice and choice.at.replace(tzinfo=choice.zone)


def snoozed(at):
    form = SnoozeForm({"wait": "time", "at": at})
    is_valid = form.is_valid()
    return form, form.until(datetime.now(UTC), None) if is_valid else None


def extended(at):
    form = ExtendForm({"until": at, "reason": "Dana is away."})
    form.is_valid()
    return form, form.cleaned_data.get("until")


def reported(at):
    form = RightsForm({"at": at}, choices={"place": []})
    form.is_valid()
    return form, form.cleaned_data.get("at")


def test_end_of_an_entry_of_a_list_is_explained_too():
    with somebodys_time(lambda: "Europe/Berlin"):
        for at, words in ((SKIPPED, "skip that time"), (TWICE, "show that time twice")):
            with pytest.raises(ValueError, match=words):
                read_line(f"*@example.com, , {at}")
        assert read_line("*@example.com, , 2027-10-31T03:30").expires_at.hour == 2


@pytest.mark.parametrize("typed", [later, snoozed, extended, reported])
def test_time_that_a_day_lacks_or_has_twice_is_explained_in_each_form(typed):
    with somebodys_time(lambda: "Europe/Berlin"):
        for at, words in ((SKIPPED, "skip that time"), (TWICE, "show that time twice")):
            form, moment = typed(at)
            assert words in str(form.errors), at
            assert "Europe/Berlin" in str(form.errors)
            assert moment is None
        for at, hour in (("2027-03-28T03:30", 1), ("2027-10-31T03:30", 2)):
            form, moment = typed(at)
            assert moment.astimezone(UTC).hour == hour

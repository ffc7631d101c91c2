"""Figures of how review is done: of teams of three and more, of people only where that is allowed."""

from datetime import UTC, datetime, timedelta

from approvals.querysets.figures import ReadVerdict
from approvals.reports.review import Checked, Reviewed, add_up, is_unread, reading_seconds

AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def verdict(person, *, seconds=30, parts=0, characters=600, mailbox=1, outcome="approve", after=0):
    return ReadVerdict(person, mailbox, outcome, seconds, parts, AT + timedelta(seconds=after), characters)


def test_unread_is_faster_than_reading_or_a_part_never_opened():
    assert (reading_seconds(0), reading_seconds(6000)) == (2.0, 100.0)
    assert is_unread(verdict(1, seconds=9)) is True
    assert is_unread(verdict(1, seconds=10)) is False
    assert is_unread(verdict(1, parts=1)) is True
    assert is_unread(verdict(1, seconds=None, parts=None)) is None


def test_figures_of_a_team_are_its_medians_peaks_and_shares():
    given = [verdict(1, seconds=5), verdict(1, after=1), verdict(1, after=90), verdict(2), verdict(3, outcome="reject")]
    practised = [Checked(1, 1, True), Checked(2, 1, False), Checked(3, 1, True), Checked(3, 1, True)]
    sampled = [Checked(1, 1, True), Checked(2, 1, False)]
    found = Reviewed(given, practised, sampled)
    report = add_up(found, groups={}, mailboxes={1: "support@x.example"}, people={}, with_people=False)
    row = report.total
    assert row is not None
    assert (row.decisions, row.approvals, row.unread_share, row.caught_share) == (5, 4, "25 %", "75 %")
    assert (row.peak, row.a_minute, row.median_open, row.agreed_share) == (2, 1.0, 30.0, "50 %")
    (length,) = report.lengths
    assert (length.label, length.too_fast) == ("600 to 3,000", "25 %")
    assert [one.label for one in report.mailboxes] == ["support@x.example"]


def test_team_of_fewer_than_three_is_not_shown_apart_nor_is_anybody():
    found = Reviewed([verdict(1), verdict(2), verdict(3, mailbox=2)])
    groups = {"Pair": {1, 2}, "Three": {1, 2, 3}}
    asked = {"groups": groups, "mailboxes": {1: "one@x.example", 2: "two@x.example"}, "people": {1: "Ana"}}
    report = add_up(found, **asked, with_people=False)
    assert [one.label for one in (*report.groups, *report.mailboxes, *report.people)] == ["Three"]
    assert report.hidden == 3
    alone = add_up(found.of_people({1, 2}), **asked, with_people=False)
    assert (alone.total, alone.groups, alone.mailboxes, alone.lengths) == (None, (), (), ())
    allowed = add_up(found, **asked, with_people=True)
    assert [one.label for one in (*allowed.groups, *allowed.people)] == ["Pair", "Three", "Ana"]

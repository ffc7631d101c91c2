"""The usage report: mail by when it came, left and was decided; calls counted in Redis and kept in rows."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone
from redis import Redis

from gateway import counters, limits, usage
from gateway.models import Account, Email, Mailbox, UsageDay
from gateway.tasks import sweep
from tests.integration.gateway.world import World, add_key, add_sandbox_keys, make_inbound

DAY = datetime(2026, 10, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _count_from_nothing(settings: Any, counting: None) -> None:
    Redis.from_url(settings.REDIS_URL).delete("gateway:calls")


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def report(world: World, query: str = "", key: str = "agent") -> Any:
    answer = world.call("GET", f"/v1/usage{query}", key=key)
    assert answer.status_code == 200, answer.content
    return answer.json()


def october(world: World, key: str = "agent", more: str = "") -> Any:
    bounds = f"?from={milliseconds(DAY - timedelta(days=4))}&to={milliseconds(DAY + timedelta(days=5))}"
    return report(world, bounds + more, key)


def put_mail_into_october(world: World) -> None:
    sent, decided = world.held(), world.held()
    Email.objects.filter(pk=sent).update(sent_at=DAY + timedelta(hours=23, minutes=59))
    Email.objects.filter(pk=decided).update(decided_at=DAY + timedelta(days=1))
    make_inbound(world, created_at=DAY)
    make_inbound(world, created_at=DAY - timedelta(milliseconds=1))


def test_usage_counts_mail_of_the_period_by_day_for_those_who_may_see_it(world: World, other: World):
    put_mail_into_october(world)
    put_mail_into_october(other)
    told = october(world)
    assert (told["emails_sent"], told["emails_received"], told["oversight_actions"]) == (1, 2, 1)
    assert "data" not in told
    told = october(world, more="&breakdown=daily")
    days = {row["date"]: row for row in told["data"]}
    assert (told["breakdown"], len(days), min(days), max(days)) == ("daily", 9, "2026-10-01", "2026-10-09")
    assert [days["2026-10-05"][name] for name in ("emails_sent", "emails_received", "oversight_actions")] == [1, 1, 0]
    assert (days["2026-10-04"]["emails_received"], days["2026-10-06"]["oversight_actions"]) == (1, 1)
    elsewhere = Mailbox.objects.create(account=world.account, address="other@acme.example")
    add_key(world, "limited", ["read"], mailbox_ids=[elsewhere.pk])
    add_sandbox_keys(world)
    assert [october(world, key)["emails_received"] for key in ("limited", "tester")] == [0, 0]


def test_usage_is_of_this_month_if_nothing_is_asked_for(world: World):
    world.send()
    told = report(world)
    assert told["from"] == milliseconds(limits.start_of_month(timezone.now()))
    assert told["to"] == pytest.approx(milliseconds(timezone.now()), abs=60_000)
    assert (told["emails_sent"], told["api_calls"]) == (0, 2)
    assert report(world, "?period=daily")["data"][-1]["api_calls"] == 3


def test_usage_of_what_is_no_period_is_422_and_of_any_other_told(world: World):
    for query in ("period=weekly", "from=x", "to=-1", "from=2&to=1", "from=0&to=99999999999", "to=1e99"):
        answer = world.call("GET", f"/v1/usage?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field"), query
    for query in ("", "from=0", "to=0", "from=99999999999999", "to=253370764799999", "from=&to=&period="):
        assert report(world, f"?{query}&breakdown=daily")["data"], query


def test_sweep_moves_calls_into_rows_once_and_drops_those_of_an_account_that_is_gone(world: World, other: World):
    for _ in range(3):
        world.call("GET", "/v1/mailboxes")
    other.call("GET", "/v1/mailboxes")
    Account.objects.filter(pk=other.account.pk).delete()
    sweep()
    sweep()
    row = UsageDay.objects.get()
    assert (row.account_id, row.day, row.api_calls) == (world.account.pk, timezone.now().date(), 3)
    assert report(world)["api_calls"] == 4
    assert usage.write_down_calls() == 1
    row.refresh_from_db()
    assert row.api_calls == 4


def test_calls_that_cannot_be_written_are_kept(world: World, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise DatabaseError("the server is gone")

    world.call("GET", "/v1/mailboxes")
    monkeypatch.setattr("gateway.querysets.usage.UsageDayQuerySet.add", fail)
    with pytest.raises(DatabaseError):
        usage.write_down_calls()
    assert counters.calls_not_moved(world.account.pk) == {timezone.now().date(): 1}


def test_refused_calls_are_not_counted(world: World, settings: Any):
    settings.GATEWAY_RATE_LIMIT = 2
    statuses = [world.call("GET", "/v1/mailboxes").status_code for _ in range(6)]
    assert statuses.count(429) > 0
    assert sum(counters.calls_not_moved(world.account.pk).values()) == statuses.count(200)


def test_emails_of_this_month_are_counted_as_the_quota_counts_them(world: World):
    world.decide(world.held(), "reject")
    world.held()
    make_inbound(world)
    assert usage.emails_sent_this_month(world.account, now=timezone.now()) == 1


def test_usage_without_redis_is_told_from_rows(world: World, monkeypatch: pytest.MonkeyPatch):
    UsageDay.objects.create(account=world.account, day=date(2026, 10, 5), api_calls=7)
    monkeypatch.setattr(counters._Health, "asked_again_at", float("inf"))
    assert october(world)["api_calls"] == 7

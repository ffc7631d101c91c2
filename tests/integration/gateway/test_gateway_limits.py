"""Limits on calls, emails and sizes, how long to wait, and the reported usage."""

import io
import socket
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone
from redis import Redis

from common import redis
from gateway import attachments, limits
from gateway.errors import TooManyRequests
from gateway.models import (
    Account,
    ApiKey,
    AuditLogEntry,
    Email,
    IdempotencyRecord,
    Mailbox,
    UsageDay,
)
from gateway.tasks import sweep
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    make_inbound,
    refusal_of,
)

MOMENT = datetime(2026, 11, 20, 8, 15, 40, tzinfo=UTC)
DAY = datetime(2026, 10, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _reset_counts(settings, counting):
    Redis.from_url(settings.REDIS_URL).delete("gateway:calls")


def set_limits(world, **fields):
    Account.objects.filter(pk=world.account.pk).update(**fields)


def call_as_agent(world, now=MOMENT):
    """Count one call; return how long to wait if it exceeds the limit."""
    key = ApiKey.objects.select_related("account").get(
        account=world.account, name="Key agent"
    )
    try:
        limits.check_rate(key, now=now)
    except TooManyRequests as refused:
        return refused.retry_after
    return None


def until_refused(world, limit):
    """Call until the limit is reached; at most one minute boundary passes."""
    answers = (world.call("GET", "/v1/mailboxes") for _ in range(2 * limit + 1))
    return next(answer for answer in answers if answer.status_code == 429)


def test_calls_over_the_limit_are_429_with_seconds_to_wait_and_are_not_counted(
    world, settings
):
    settings.GATEWAY_RATE_LIMIT = 3
    answer = until_refused(world, 3)
    body = answer.json()
    assert body["code"] == "rate_limited"
    assert "quota" not in body["error"]
    assert 1 <= int(answer["Retry-After"]) <= 60
    counted = sum(limits.calls_not_moved(world.account.pk).values())
    assert counted in range(3, 7), "a minute may have ended meanwhile"
    assert world.call("GET", "/v1/mailboxes", key="reader").status_code == 200
    set_limits(world, requests_per_minute=1)
    refused = [world.call("GET", "/v1/mailboxes").status_code for _ in range(3)].count(
        429
    )
    assert (
        sum(limits.calls_not_moved(world.account.pk).values())
        == counted + 1 + 3 - refused
    )


def test_calls_are_counted_by_key_and_minute_up_to_the_account_s_own_limit(
    world, settings
):
    settings.GATEWAY_RATE_LIMIT = 2
    assert [call_as_agent(world) for _ in range(3)] == [None, None, 20]
    assert call_as_agent(world, MOMENT + timedelta(seconds=20)) is None
    for hour, (setting, own, refused) in enumerate(
        ((1, None, 20), (1, 0, None), (0, None, None), (0, 1, 20)), 1
    ):
        settings.GATEWAY_RATE_LIMIT = setting
        set_limits(world, requests_per_minute=own)
        later = MOMENT + timedelta(hours=hour)
        assert [call_as_agent(world, later), call_as_agent(world, later)] == [
            None,
            refused,
        ], (setting, own)


def test_unresponsive_redis_is_asked_rarely(world, settings, monkeypatch):
    monkeypatch.setattr(redis, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(redis, "REST_SECONDS", 600)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        redis.quick_redis.cache_clear()
        assert call_as_agent(world) is None
    # Nothing may ask it any more.
    monkeypatch.setattr(limits, "quick_redis", None)
    assert [call_as_agent(world) for _ in range(20)] == [None] * 20


def test_counting_resumes_when_redis_returns_even_without_its_scripts(world, settings):
    redis.rest(OSError())
    assert call_as_agent(world) is None
    redis._rests_until = 0.0
    settings.GATEWAY_RATE_LIMIT = 1
    assert until_refused(world, 1).status_code == 429
    Redis.from_url(settings.REDIS_URL).script_flush()
    assert call_as_agent(world) is None
    assert not redis.is_resting()


def test_quota_used_up_is_429_until_the_month_ends(world):
    set_limits(world, monthly_email_quota=1)
    first = world.send(idempotency_key="once", subject="x").json()
    answer = world.send(idempotency_key="second")
    body = answer.json()
    assert answer.status_code == 429
    assert body["code"] == "quota_exceeded"
    assert body["monthly_email_quota"] == 1
    assert "quota" in body["error"]
    end = (timezone.now().replace(day=1) + timedelta(days=31)).replace(
        day=1, hour=0, minute=0, second=0
    )
    assert int(answer["Retry-After"]) == pytest.approx(
        (end - timezone.now()).total_seconds(), abs=90
    )
    assert Email.objects.count() == 1
    assert IdempotencyRecord.objects.filter(key="second").count() == 0
    again = world.send(idempotency_key="once", subject="x")
    assert again.status_code == 200
    assert again.json()["id"] == first["id"]
    assert again.json()["idempotent"] is True
    # December ends with the year.
    set_limits(world, monthly_email_quota=0)
    world.account.refresh_from_db()
    now = datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC)
    with (
        transaction.atomic(),
        pytest.raises(TooManyRequests, match="2027-01-01") as refused,
    ):
        limits.check_quota(world.account, sandbox=False, now=now)
    assert refused.value.retry_after == 31


@pytest.mark.slow
def test_quota_ignores_unsent_sandbox_and_received_mail(world):
    add_sandbox_keys(world)
    set_limits(world, monthly_email_quota=1)
    make_inbound(world)
    assert world.send("tester").status_code == 202
    world.decide(world.held(), "reject")
    world.post(f"{world.base}/emails/{world.held()}/cancel")
    last_month = world.held()
    assert world.send().status_code == 429
    before = limits.start_of_month(timezone.now()) - timedelta(seconds=1)
    Email.objects.filter(pk=last_month).update(created_at=before)
    assert world.send().status_code == 202
    assert world.send("tester").status_code == 202


def test_warm_up_refuses_the_rest_of_the_day_until_it_is_over(world):
    set_limits(world, warmup_stage=2, warmup_daily_limit=1)
    world.held()
    answer = world.send()
    body = answer.json()
    assert answer.status_code == 429
    assert body["code"] == "warmup_limit"
    assert body["warmup_stage"] == 2
    assert body["daily_sent"] == 1
    assert body["daily_limit"] == 1
    assert body["hint"]
    now = timezone.now()
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    assert int(answer["Retry-After"]) == pytest.approx(
        (midnight - now).total_seconds(), abs=90
    )
    set_limits(world, warmup_stage=0, warmup_daily_limit=0)
    assert world.send().status_code == 202


def test_command_sets_limits_and_shows_them(world):
    out = io.StringIO()
    options = {
        "monthly_quota": 200,
        "max_mailboxes": 2,
        "requests_per_minute": 60,
        "warmup": (1, 50),
    }
    call_command("gateway_limits", account="acme", stdout=out, **options)
    account = Account.objects.get()
    assert account.monthly_email_quota == 200
    assert account.max_mailboxes == 2
    assert account.requests_per_minute == 60
    assert account.warmup_stage == 1
    assert account.warmup_daily_limit == 50
    assert "50 (warm-up, stage 1)" in out.getvalue()
    assert AuditLogEntry.objects.get().metadata["monthly_email_quota"] == 200
    call_command(
        "gateway_limits",
        "--account",
        "acme",
        "--monthly-quota",
        "none",
        "--warmup",
        "none",
        stdout=out,
    )
    account.refresh_from_db()
    assert account.monthly_email_quota is None
    assert account.warmup_stage == 0
    assert account.max_mailboxes == 2


def test_command_refuses_an_invalid_limit_and_explains_the_warm_up_format(world):
    wrongs = {
        "--monthly-quota=-1": None,
        "--warmup=50": "STAGE:N",
        "--warmup=2:none": None,
        "--account=nobody": None,
    }
    for wrong, says in wrongs.items():
        with pytest.raises(CommandError, match=says):
            call_command(
                "gateway_limits", "--account=acme", wrong, stdout=io.StringIO()
            )


def nested(depth):
    value = "x"
    for _ in range(depth):
        value = {"a": value}
    return {"b": value}


def files(number, content="eA=="):
    return [{"name": f"{one}", "content": content} for one in range(number)]


# Fields, the status, the named field, and the size in the sentence.
TOO_MUCH = [
    ({"to": [f"a{n}@x.example" for n in range(51)]}, 422, "to", "50 51"),
    ({"bcc": ",".join(f"a{n}@x.example" for n in range(51))}, 422, "bcc", "50 51"),
    ({"to": ["dana@x.example"] * 100_001}, 422, None, "100000"),
    ({"subject": "x" * 999}, 422, "subject", "998 999"),
    ({"markdown": "x" * 262_145}, 422, "markdown", "262144"),
    ({"html": "x" * 262_145}, 422, "html", "262144"),
    ({"metadata": {"a": "x" * 16_384}}, 422, "metadata", "16384 16393"),
    ({"metadata": nested(32)}, 422, "metadata", "32"),
    ({"idempotency_key": "k" * 201}, 422, "idempotency_key", "200"),
    ({"attachments": files(26)}, 422, "attachments", "25 26"),
    ({"attachments": files(1, "eHh4eHh4eHg=")}, 413, "attachments.0", "7 8"),
    ({"attachments": files(3, "eHh4eHh4eA==")}, 413, "attachments", "20 21"),
]
AS_MUCH = [
    {"to": [f"a{n}@x.example" for n in range(50)]},
    {"to": ",".join(f"a{n}@x.example" for n in range(50)) + ","},
    {"subject": "x" * 998},
    {"markdown": "x" * 262_144},
    {"metadata": nested(30)},
    {"idempotency_key": "k" * 200},
    {"attachments": files(25, "")},
    {"attachments": files(1, "eHh4eHh4eA==")},
    {"attachments": files(4, "eHh4eHg=")},
]


def test_oversized_input_is_refused_with_its_size_and_the_maximum_is_accepted(
    world, monkeypatch
):
    assert attachments.MAX_FILE_BYTES == 10_485_760
    assert attachments.MAX_ALL_FILES_BYTES == 20_971_520
    monkeypatch.setattr(attachments, "MAX_FILE_BYTES", 7)
    monkeypatch.setattr(attachments, "MAX_ALL_FILES_BYTES", 20)
    for fields, status, field, numbers in TOO_MUCH:
        answer = world.send(**fields)
        body = answer.json()
        assert answer.status_code == status, numbers
        assert body.get("field") == field, numbers
        assert all(number in body["error"] for number in numbers.split()), body["error"]
    assert not Email.objects.exists()
    assert [world.send(**fields).status_code for fields in AS_MUCH] == [202] * len(
        AS_MUCH
    )


def test_oversized_or_deeply_nested_body_is_refused(world, settings):
    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    for depth in (900, 100_000):
        raw = (
            '{"to": ["a@x.example"], "subject": "s", "markdown": "m", "x": '
            + "[" * depth
            + "]" * depth
            + "}"
        )
        answer = Client().post(
            f"{world.base}/send", raw, content_type="application/json", headers=headers
        )
        assert answer.status_code in (400, 422), depth
        assert "deep" in answer.json()["error"], depth
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = world.send(markdown="x" * 1000)
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["error"]


def milliseconds(moment):
    return int(moment.timestamp() * 1000)


def report(world, query="", key="agent"):
    answer = world.call("GET", f"/v1/usage{query}", key=key)
    assert answer.status_code == 200, answer.content
    return answer.json()


def october(world, key="agent", more=""):
    bounds = f"?from={milliseconds(DAY - timedelta(days=4))}&to={milliseconds(DAY + timedelta(days=5))}"
    return report(world, bounds + more, key)


def make_mail_in_october(world):
    sent = world.held()
    decided = world.held()
    Email.objects.filter(pk=sent).update(sent_at=DAY + timedelta(hours=23, minutes=59))
    Email.objects.filter(pk=decided).update(decided_at=DAY + timedelta(days=1))
    make_inbound(world, created_at=DAY)
    make_inbound(world, created_at=DAY - timedelta(milliseconds=1))


def test_usage_counts_visible_mail_of_the_period_by_day(world, other):
    make_mail_in_october(world)
    make_mail_in_october(other)
    usage = october(world)
    assert usage["emails_sent"] == 1
    assert usage["emails_received"] == 2
    assert usage["oversight_actions"] == 1
    assert "data" not in usage
    usage = october(world, more="&breakdown=daily")
    days = {row["date"]: row for row in usage["data"]}
    assert usage["breakdown"] == "daily"
    assert len(days) == 9
    assert min(days) == "2026-10-01"
    assert max(days) == "2026-10-09"
    assert [
        days["2026-10-05"][name]
        for name in ("emails_sent", "emails_received", "oversight_actions")
    ] == [1, 1, 0]
    assert days["2026-10-04"]["emails_received"] == 1
    assert days["2026-10-06"]["oversight_actions"] == 1
    elsewhere = Mailbox.objects.create(
        account=world.account, address="other@acme.example"
    )
    add_key(world, "limited", ["read"], mailbox_ids=[elsewhere.pk])
    add_sandbox_keys(world)
    assert [
        october(world, key)["emails_received"] for key in ("limited", "tester")
    ] == [0, 0]


@pytest.mark.slow
def test_usage_of_an_invalid_period_is_422_and_of_any_other_reported(world):
    for query in (
        "period=weekly",
        "from=x",
        "to=-1",
        "from=2&to=1",
        "from=0&to=99999999999",
        "to=1e99",
    ):
        answer = world.call("GET", f"/v1/usage?{query}")
        assert refusal_of(answer) == (422, "invalid_field"), query
    for query in (
        "",
        "from=0",
        "to=0",
        "from=99999999999999",
        "to=253370764799999",
        "from=&to=&period=",
    ):
        assert report(world, f"?{query}&breakdown=daily")["data"], query


def test_sweep_stores_call_counts_once_and_drops_those_of_deleted_accounts(
    world, other
):
    for _ in range(3):
        world.call("GET", "/v1/mailboxes")
    other.call("GET", "/v1/mailboxes")
    Account.objects.filter(pk=other.account.pk).delete()
    sweep()
    sweep()
    row = UsageDay.objects.get()
    assert row.account_id == world.account.pk
    assert row.day == timezone.now().date()
    assert row.api_calls == 3
    assert report(world)["api_calls"] == 4
    assert limits.write_down_calls() == 1
    row.refresh_from_db()
    assert row.api_calls == 4


def test_call_counts_that_cannot_be_stored_stay_in_redis(world, monkeypatch):
    def fail(*_):
        raise DatabaseError("the server is gone")

    world.call("GET", "/v1/mailboxes")
    monkeypatch.setattr("gateway.models.accounts.UsageDayQuerySet.add", fail)
    with pytest.raises(DatabaseError):
        limits.write_down_calls()
    assert limits.calls_not_moved(world.account.pk) == {timezone.now().date(): 1}


def test_usage_without_redis_is_read_from_the_database(world, monkeypatch):
    UsageDay.objects.create(account=world.account, day=date(2026, 10, 5), api_calls=7)
    monkeypatch.setattr(redis, "_rests_until", float("inf"))
    assert october(world)["api_calls"] == 7

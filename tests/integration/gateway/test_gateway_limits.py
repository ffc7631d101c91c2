"""Limits: calls a minute, emails a month and a day, and sizes. Each refusal says how much and how long to wait."""

import io
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from redis import Redis

from gateway import counters, limits
from gateway.errors import TooManyRequests
from gateway.models import Account, ApiKey, AuditLogEntry, Email, IdempotencyRecord
from tests.integration.gateway.world import World, add_key, make_inbound

MOMENT = datetime(2026, 11, 20, 8, 15, 40, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _forget_redis_trouble():
    yield
    counters._redis.cache_clear()
    counters._hit.cache_clear()
    counters._Health.asked_again_at, counters._Health.away = 0.0, False


def set_limits(world: World, **fields: Any) -> None:
    Account.objects.filter(pk=world.account.pk).update(**fields)


def agent(world: World) -> ApiKey:
    return ApiKey.objects.select_related("account").get(account=world.account, name="Key agent")


def until_refused(world: World, limit: int) -> Any:
    """Call until the limit is met; at most one minute ends meanwhile."""
    answers = (world.call("GET", "/v1/mailboxes") for _ in range(2 * limit + 1))
    return next(answer for answer in answers if answer.status_code == 429)


def test_calls_over_the_limit_are_429_with_seconds_to_wait(world: World, settings):
    settings.GATEWAY_RATE_LIMIT = 3
    answer = until_refused(world, 3)
    body = answer.json()
    assert (body["code"], "quota" in body["error"]) == ("rate_limited", False)
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert world.call("GET", "/v1/mailboxes", key="reader").status_code == 200


def test_calls_are_counted_by_key_and_minute(world: World, settings):
    settings.GATEWAY_RATE_LIMIT = 2
    key = agent(world)
    for _ in range(2):
        limits.check_rate(key=key, now=MOMENT)
    with pytest.raises(TooManyRequests) as refused:
        limits.check_rate(key=key, now=MOMENT)
    assert refused.value.retry_after == 20
    limits.check_rate(key=key, now=MOMENT + timedelta(seconds=20))


@pytest.mark.parametrize(
    ("setting", "own", "refused"), [(1, None, True), (1, 0, False), (0, None, False), (0, 1, True)]
)
def test_account_has_its_own_limit_where_one_is_set(world: World, settings, setting: int, own: int, refused: bool):
    settings.GATEWAY_RATE_LIMIT = setting
    set_limits(world, requests_per_minute=own)
    key = agent(world)
    limits.check_rate(key=key, now=MOMENT)
    if refused:
        with pytest.raises(TooManyRequests):
            limits.check_rate(key=key, now=MOMENT)
    else:
        limits.check_rate(key=key, now=MOMENT)


def test_redis_away_lets_calls_pass_and_is_asked_once(world: World, settings, caplog: pytest.LogCaptureFixture):
    settings.REDIS_URL, settings.GATEWAY_RATE_LIMIT = "unix:///nonexistent/redis.sock?db=0", 1
    counters._redis.cache_clear()
    counters._hit.cache_clear()
    assert [world.call("GET", "/v1/mailboxes").status_code for _ in range(5)] == [200] * 5
    assert [record.message for record in caplog.records].count("calls are not counted") == 1
    assert counters._Health.asked_again_at > time.monotonic()


def test_redis_that_never_answers_costs_one_call_a_moment(world: World, settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counters, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        counters._redis.cache_clear()
        counters._hit.cache_clear()
        limits.check_rate(key=agent(world), now=MOMENT)
        began = time.perf_counter()
        for _ in range(20):
            counters.hit(key_id="k", account_id="a", limit=1, now=MOMENT)
        assert time.perf_counter() - began < 0.05


def test_redis_back_is_counted_again(world: World, settings):
    counters._Health.away = True
    settings.GATEWAY_RATE_LIMIT = 1
    assert until_refused(world, 1).status_code == 429
    assert not counters._Health.away


def test_lost_scripts_are_loaded_again(world: World, settings):
    limits.check_rate(key=agent(world), now=MOMENT)
    Redis.from_url(settings.REDIS_URL).script_flush()
    limits.check_rate(key=agent(world), now=MOMENT)
    assert not counters._Health.away


def test_quota_used_up_is_429_until_the_month_ends(world: World):
    set_limits(world, monthly_email_quota=1)
    world.held()
    answer = world.send(idempotency_key="second")
    body = answer.json()
    assert (answer.status_code, body["code"], body["monthly_email_quota"]) == (429, "quota_exceeded", 1)
    assert "quota" in body["error"]
    end = (timezone.now().replace(day=1) + timedelta(days=31)).replace(day=1, hour=0, minute=0, second=0)
    assert int(answer["Retry-After"]) == pytest.approx((end - timezone.now()).total_seconds(), abs=5)
    assert (Email.objects.count(), IdempotencyRecord.objects.filter(key="second").count()) == (1, 0)


def test_repeated_key_is_answered_although_the_quota_is_used_up(world: World):
    set_limits(world, monthly_email_quota=1)
    first = world.send(idempotency_key="once", subject="x").json()
    again = world.send(idempotency_key="once", subject="x")
    assert (again.status_code, again.json()["id"], again.json()["idempotent"]) == (200, first["id"], True)


def test_quota_does_not_count_what_did_not_leave_nor_sandbox_nor_received_mail(world: World):
    add_key(world, "sandbox", ["read", "send"], prefix="mm_test_")
    set_limits(world, monthly_email_quota=1)
    make_inbound(world)
    assert world.send("sandbox").status_code == 202
    world.decide(world.held(), "reject")
    world.call("POST", f"{world.base}/emails/{world.held()}/cancel")
    last_month = Email.objects.get(pk=world.held())
    assert world.send().status_code == 429
    Email.objects.filter(pk=last_month.pk).update(
        created_at=limits.start_of_month(timezone.now()) - timedelta(seconds=1)
    )
    assert world.send().status_code == 202
    assert world.send("sandbox").status_code == 202


@pytest.mark.django_db(transaction=True)
def test_parallel_sends_never_share_the_last_place_of_a_quota(world: World):
    set_limits(world, monthly_email_quota=3)
    statuses: list[int] = []

    def send() -> None:
        statuses.append(world.send().status_code)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202] * 3 + [429] * 5
    assert Email.objects.count() == 3


def test_warm_up_refuses_the_rest_of_the_day(world: World):
    set_limits(world, warmup_stage=2, warmup_daily_limit=1)
    world.held()
    answer = world.send()
    body = answer.json()
    assert (answer.status_code, body["code"]) == (429, "warmup_limit")
    assert (body["warmup_stage"], body["daily_sent"], body["daily_limit"]) == (2, 1, 1)
    assert body["hint"]
    now = timezone.now()
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    assert int(answer["Retry-After"]) == pytest.approx((midnight - now).total_seconds(), abs=5)


def test_warm_up_that_is_over_refuses_nothing(world: World):
    set_limits(world, warmup_stage=0, warmup_daily_limit=0)
    assert world.send().status_code == 202


def test_december_ends_with_the_year(world: World):
    set_limits(world, monthly_email_quota=0)
    world.account.refresh_from_db()
    now = datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC)
    from django.db import transaction

    with transaction.atomic(), pytest.raises(TooManyRequests) as refused:
        limits.check_quota(account=world.account, sandbox=False, now=now)
    assert "2027-01-01" in refused.value.error
    assert refused.value.retry_after == 31


def test_command_sets_limits_and_shows_them(world: World):
    out = io.StringIO()
    options = {"monthly_quota": 200, "max_mailboxes": 2, "requests_per_minute": 60, "warmup": (1, 50)}
    call_command("gateway_limits", account="acme", stdout=out, **options)
    account = Account.objects.get()
    assert (account.monthly_email_quota, account.max_mailboxes, account.requests_per_minute) == (200, 2, 60)
    assert (account.warmup_stage, account.warmup_daily_limit) == (1, 50)
    assert "50 (warm-up, stage 1)" in out.getvalue()
    assert AuditLogEntry.objects.get().metadata["monthly_email_quota"] == 200
    call_command("gateway_limits", "--account", "acme", "--monthly-quota", "none", "--warmup", "none", stdout=out)
    account.refresh_from_db()
    assert (account.monthly_email_quota, account.warmup_stage, account.max_mailboxes) == (None, 0, 2)


@pytest.mark.parametrize("wrong", [["--monthly-quota=-1"], ["--warmup=50"], ["--warmup=2:none"], ["--account=nobody"]])
def test_command_refuses_what_is_no_limit(world: World, wrong: list[str]):
    with pytest.raises(CommandError):
        call_command("gateway_limits", "--account=acme", *wrong, stdout=io.StringIO())


def test_command_tells_the_form_of_a_warm_up(world: World):
    with pytest.raises(CommandError, match="STAGE:N"):
        call_command("gateway_limits", "--account=acme", "--warmup=50", stdout=io.StringIO())


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return {"b": value}


@pytest.mark.parametrize(
    ("fields", "status", "field", "words"),
    [
        ({"to": [f"a{n}@x.example" for n in range(51)]}, 422, "to", ["50", "51"]),
        ({"cc": ",".join(f"a{n}@x.example" for n in range(51))}, 422, "cc", ["50", "51"]),
        ({"bcc": ["dana@x.example"] * 90_000}, 422, "bcc", ["50", "90000"]),
        ({"to": ["dana@x.example"] * 100_001}, 422, None, ["100000"]),
        ({"subject": "x" * 999}, 422, "subject", ["998", "999"]),
        ({"markdown": "x" * 262_145}, 422, "markdown", ["262144"]),
        ({"html": "x" * 262_145}, 422, "html", ["262144"]),
        ({"metadata": {"a": "x" * 16_384}}, 422, "metadata", ["16384", "16393"]),
        ({"metadata": nested(32)}, 422, "metadata", ["32"]),
        ({"idempotency_key": "k" * 201}, 422, "idempotency_key", ["200"]),
        ({"attachments": [{"name": f"{n}", "content": "eA=="} for n in range(26)]}, 422, "attachments", ["25", "26"]),
        (
            {"attachments": [{"name": "a", "content": "eHh4" * 3_495_254}]},
            413,
            "attachments.0",
            ["10485760", "10485762"],
        ),
    ],
)
def test_too_much_is_refused_with_how_much(
    world: World, fields: dict[str, Any], status: int, field: str, words: list[str]
):
    answer = world.send(**fields)
    body = answer.json()
    assert (answer.status_code, body.get("field")) == (status, field)
    assert all(word in body["error"] for word in words), body["error"]
    assert not Email.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"to": [f"a{n}@x.example" for n in range(50)]},
        {"to": ",".join(f"a{n}@x.example" for n in range(50)) + ","},
        {"subject": "x" * 998},
        {"markdown": "x" * 262_144},
        {"metadata": nested(30)},
        {"idempotency_key": "k" * 200},
        {"attachments": [{"name": f"{n}", "content": "eA=="} for n in range(25)]},
    ],
)
def test_as_much_as_allowed_is_taken(world: World, fields: dict[str, Any]):
    assert world.send(**fields).status_code == 202


def test_attachments_too_large_together_are_413(world: World):
    files = [{"name": f"{n}", "content": "eHh4" * 2_333_334} for n in range(3)]
    answer = world.send(attachments=files)
    assert (answer.status_code, answer.json()["field"]) == (413, "attachments")
    assert "20971520" in answer.json()["error"]


def test_whole_body_too_large_is_413_and_says_what_is_taken(world: World, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = world.send(markdown="x" * 1000)
    assert (answer.status_code, "1000 bytes" in answer.json()["error"]) == (413, True)


@pytest.mark.parametrize("depth", [900, 100_000])
def test_body_nested_without_end_is_refused_and_is_no_crash(world: World, depth: int):
    raw = '{"to": ["a@x.example"], "subject": "s", "markdown": "m", "x": ' + "[" * depth + "]" * depth + "}"
    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    answer = Client().post(f"{world.base}/send", raw, content_type="application/json", headers=headers)
    assert answer.status_code in (400, 422)
    assert "deep" in answer.json()["error"]

"""Limits on calls, emails and sizes, how long to wait, and the reported usage."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from redis import Redis

from gateway import attachments, limits
from gateway.api.oversight import MAX_SUGGESTION
from gateway.api.site import api
from gateway.errors import TooManyRequests
from gateway.middleware import LONG_BODY, SMALL_BODY, bound_of
from gateway.models import (
    Account,
    ApiKey,
    Email,
    IdempotencyRecord,
)
from gateway.request_rules import most_body
from tests.factories import change_row
from tests.integration.gateway.world import (
    add_sandbox_keys,
    bad_field_of,
    make_inbound,
    refusal_of,
)

MOMENT = datetime(2026, 11, 20, 8, 15, 40, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _reset_counts(settings, counting):
    redis_of_test = Redis.from_url(settings.REDIS_URL)
    for name in redis_of_test.scan_iter("gateway:calls:*"):
        redis_of_test.delete(name)


def set_limits(world, **fields):
    change_row(world.account, **fields)


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


def test_calls_over_the_limit_are_429_with_seconds_to_wait_and_are_not_counted(
    world, settings
):
    settings.GATEWAY_RATE_LIMIT = 3
    # At most one minute may end meanwhile.
    answers = (world.call("GET", "/v1/mailboxes") for _ in range(7))
    answer = next(answer for answer in answers if answer.status_code == 429)
    assert answer.json()["code"] == "rate_limited"
    assert "quota" not in answer.json()["error"]
    assert 1 <= int(answer["Retry-After"]) <= 60


def test_calls_are_counted_by_key_and_minute(world, settings):
    settings.GATEWAY_RATE_LIMIT = 2
    assert [call_as_agent(world) for _ in range(3)] == [None, None, 20]
    assert call_as_agent(world, MOMENT + timedelta(seconds=20)) is None
    # Zero is no limit.
    settings.GATEWAY_RATE_LIMIT = 0
    assert call_as_agent(world) is None


def test_quota_used_up_is_429_until_the_month_ends(world):
    set_limits(world, monthly_email_quota=1)
    # What is no mail that left this month does not count.
    add_sandbox_keys(world)
    make_inbound(world)
    world.held(key="tester")
    world.decide(world.held(), "reject")
    before = limits.start_of_month(timezone.now()) - timedelta(seconds=1)
    Email.objects.filter(pk=world.held()).update(created_at=before)
    once = {"idempotency_key": "once", "subject": "x"}
    first = world.send(**once).json()
    answer = world.send(idempotency_key="second")
    assert refusal_of(answer) == (429, "quota_exceeded")
    assert "quota" in answer.json()["error"]
    assert not IdempotencyRecord.objects.filter(key="second").exists()
    assert world.send(**once).json()["id"] == first["id"]
    # December ends with the year.
    set_limits(world, monthly_email_quota=0)
    account = Account.objects.get()
    now = datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC)
    with transaction.atomic(), pytest.raises(TooManyRequests) as refused:
        limits.check_quota(account, sandbox=False, now=now)
    assert refused.value.retry_after == 31


def test_warm_up_refuses_the_rest_of_the_day_until_it_is_over(world):
    set_limits(world, warmup_daily_limit=1)
    world.held()
    answer = world.send()
    body = answer.json()
    assert refusal_of(answer) == (429, "warmup_limit")
    assert (body["warmup_stage"], body["daily_sent"], body["daily_limit"]) == (1, 1, 1)
    assert 0 < int(answer["Retry-After"]) <= 86_400
    set_limits(world, warmup_daily_limit=None)
    assert world.send().status_code == 202


def test_oversized_input_is_refused_with_its_size_and_the_maximum_is_accepted(
    world, monkeypatch, settings
):
    monkeypatch.setattr(attachments, "MAX_FILE_BYTES", 7)
    monkeypatch.setattr(attachments, "MAX_ALL_FILES_BYTES", 20)
    people = [f"a{number}@x.example" for number in range(51)]
    deepest = {"a": "x"}
    for _ in range(30):
        deepest = {"a": deepest}

    def files(*contents):
        return [
            {"name": f"{number}", "content": content}
            for number, content in enumerate(contents)
        ]

    seven, eight = "eHh4eHh4eA==", "eHh4eHh4eHg="
    for name, most, more, refused in (
        ("to", people[:50], people, (422, "to")),
        ("to", people[:1], people * 2_000, (422, None)),
        ("markdown", "x" * 262_144, "x" * 262_145, (422, "markdown")),
        ("metadata", {"a": "x"}, {"a": "x" * 16_384}, (422, "metadata")),
        ("metadata", deepest, {"a": {"b": deepest}}, (422, "metadata")),
        ("attachments", files(*[""] * 25), files(*[""] * 26), (422, "attachments")),
        ("attachments", files(seven), files(eight), (413, "attachments.0")),
        ("attachments", files(seven, seven), files(*[seven] * 3), (413, "attachments")),
    ):
        assert bad_field_of(world.send(**{name: more})) == refused
        assert world.send(**{name: most}).status_code == 202, name
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert world.send(markdown="x" * 1000).status_code == 413


def schema_of(content):
    """Return the schema of a body, which the document may name."""
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    return api.get_openapi_schema()["components"]["schemas"].get(name, {})


def test_each_route_bounds_a_body_before_it_is_parsed(world, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5_000_000
    headers = {"Authorization": f"Bearer {world.keys['admin']}"}
    bounds = Counter()
    for path, calls in api.get_openapi_schema()["paths"].items():
        for method, operation in calls.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                takes_files = "attachments" in schema_of(content).get("properties", {})
                bound = bound_of(path)
                assert (bound == 5_000_000) is takes_files, path
                # No JSON: who reads it answers 400.
                answer = Client().generic(
                    method.upper(),
                    path.replace("{", "").replace("}", ""),
                    b"x" * (bound + 1),
                    headers=headers,
                )
                assert refusal_of(answer) == (413, "too_large"), path
                assert f"at most {bound:,} bytes" in answer.json()["error"]
                sent = {"PATH_INFO": path, "HTTP_AUTHORIZATION": "Bearer mm_live_x"}
                assert most_body(sent) == bound
                bounds[bound] += 1
    assert set(bounds) == {SMALL_BODY, LONG_BODY, 5_000_000}
    # What fields allow is never over the bound, however JSON is written.
    held = world.held()
    longest = {"suggested_markdown": "\U0001f680" * MAX_SUGGESTION, "reason": "No"}
    assert world.decide(held, "reject", **longest).status_code == 200
    scheduled = world.held(send_at="2099-01-01T00:00:00Z")
    edited = {"markdown": "\U0001f680" * 262_144}
    path = f"{world.base}/emails/{scheduled}/schedule"
    # It was read: a message that waits for a person cannot be changed.
    assert world.call("PATCH", path, json=edited).status_code == 409
    stopped = {"mailboxes": ["x" * 64] * 10_000}
    answer = world.call("PUT", "/v1/oversight/stopped", key="desk", json=stopped)
    assert answer.status_code != 413
    report = {"description": "x" * 16_000}
    assert world.call("POST", "/v1/feedback", json=report).status_code == 201

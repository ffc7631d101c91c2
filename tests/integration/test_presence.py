"""Presence: who reads what, from Redis alone. Without Redis nobody is known to read, and nothing else is missing."""

import socket
import time

import pytest
import redis
from django.conf import settings

from approvals.desk import presence
from common import nudge
from tests.factories import make_connection, make_message, make_person

pytestmark = pytest.mark.django_db

KEY = "countersign:reading"


@pytest.fixture(autouse=True)
def _nobody_reads():
    nudge._rests_until = presence._rests_until = 0.0
    presence._client.cache_clear()
    redis.Redis.from_url(settings.REDIS_URL).delete(KEY)
    yield
    presence._client.cache_clear()
    presence._rests_until = 0.0


@pytest.fixture
def message(connection):
    return make_message(connection)


def beat(client, message, **fields):
    answer = client.post(f"/queue/{message.public_id}/presence/", fields)
    nudge.flush()
    return answer


def page(client, message):
    return client.get(f"/queue/{message.public_id}/").content.decode()


def test_reader_is_shown_to_others_on_row_and_bar_and_not_to_themselves(signed_in, reviewer, second_reviewer, message):
    assert beat(signed_in(reviewer), message).status_code == 204
    seen = page(signed_in(second_reviewer), message)
    assert "Ana Ferreira is reading this" in seen
    assert seen.count("Ana Ferreira is reading") == 2
    assert "is reading" not in page(signed_in(reviewer), message)
    pulse = signed_in(second_reviewer).get("/queue/pulse/").json()
    assert pulse["readers"] == {str(message.public_id): [[str(reviewer.pk), "Ana Ferreira"]]}


def test_reader_who_leaves_is_gone_at_once(signed_in, reviewer, second_reviewer, message):
    beat(signed_in(reviewer), message)
    beat(signed_in(reviewer), message, left="on")
    assert "is reading" not in page(signed_in(second_reviewer), message)


def test_reader_who_says_nothing_more_is_gone_within_45_seconds(signed_in, reviewer, second_reviewer, message):
    beat(signed_in(reviewer), message)
    client = redis.Redis.from_url(settings.REDIS_URL)
    (member, until), *_ = client.zrange(KEY, 0, -1, withscores=True)
    assert 20 < until - client.time()[0] <= 45
    assert 0 < client.ttl(KEY) <= 45
    client.zadd(KEY, {member: client.time()[0] - 1})
    assert "is reading" not in page(signed_in(second_reviewer), message)


def test_nobody_learns_who_reads_what_they_may_not_see(signed_in, reviewer, message):
    beat(signed_in(reviewer), message)
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    assert signed_in(stranger).get("/queue/pulse/").json()["readers"] == {}
    assert beat(signed_in(stranger), message).status_code == 404
    assert redis.Redis.from_url(settings.REDIS_URL).zcard(KEY) == 1


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Purpose": "prefetch"}, {"HX-Request": "true"}], ids=["page", "prefetch", "fragment"]
)
def test_being_fetched_is_not_being_read(signed_in, reviewer, message, headers):
    signed_in(reviewer).get(f"/queue/{message.public_id}/", headers=headers)
    nudge.flush()
    assert redis.Redis.from_url(settings.REDIS_URL).zcard(KEY) == 0


def test_what_others_put_there_breaks_no_page(signed_in, reviewer, message):
    client = redis.Redis.from_url(settings.REDIS_URL)
    soon = client.time()[0] + 30
    client.zadd(KEY, {b"\xff": soon, "{}": soon, '["x", 1, 2, 3, 4]': soon, "[1]": soon})
    assert signed_in(reviewer).get(f"/queue/{message.public_id}/").status_code == 200


def test_redis_away_means_no_presence_and_nothing_else(signed_in, reviewer, message, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    presence._client.cache_clear()
    assert "Your refund" in page(signed_in(reviewer), message)


def test_redis_that_stalls_costs_a_page_a_fraction_of_a_second_and_the_next_one_nothing(
    signed_in, reviewer, message, settings
):
    client = signed_in(reviewer)
    client.get(f"/queue/{message.public_id}/")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        presence._client.cache_clear()
        began = time.monotonic()
        assert presence.readers_beside(reviewer.actor(surface="web")) == {}
        assert time.monotonic() - began < 2 * presence.PATIENCE + 0.5
        silent.setblocking(False)
        asked = silent.accept()
        presence.readers_beside(reviewer.actor(surface="web"))
        with pytest.raises(BlockingIOError):
            silent.accept()
        asked[0].close()
        assert client.get(f"/queue/{message.public_id}/").status_code == 200

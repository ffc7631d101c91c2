"""Presence: who reads what, from Redis alone. Without Redis no reader is known, and all else works."""

import os
import socket

import pytest
import redis
from django.conf import settings

from approvals.collaboration import presence
from common import enqueue
from mirror.models import Message
from tests.factories import make_connection, make_message, make_person

pytestmark = pytest.mark.django_db

KEY, BY_MESSAGE = "countersign:reading", "countersign:reading:by-message"


@pytest.fixture(autouse=True)
def patient_redis(monkeypatch):
    """An empty Redis, and clients with timeouts that suit a busy machine."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.delete(KEY, BY_MESSAGE)
    monkeypatch.setattr(presence, "_rests_until", 0.0)
    monkeypatch.setattr(presence, "PATIENCE", 60.0)
    presence._client.cache_clear()
    yield client
    presence._client.cache_clear()


@pytest.fixture
def message(connection):
    return make_message(connection)


def post_presence(client, message, **fields):
    answer = client.post(f"/queue/{message.public_id}/presence/", fields)
    enqueue.flush(60)
    return answer


def read_by_others(person):
    """Other readers, by message, which are the same where these messages alone are asked for."""
    found = presence.readers_by_message(person.actor(surface="web"))
    assert presence.readers_by_message(person.actor(surface="web"), Message.objects.all()) == found
    return {message: [reader.name for reader in readers] for message, readers in found.items()}


def test_reader_is_shown_to_others_on_row_and_bar_and_not_to_themselves(signed_in, reviewer, second_reviewer, message):
    assert post_presence(signed_in(reviewer), message).status_code == 204
    client = signed_in(second_reviewer)
    seen = client.get(f"/queue/{message.public_id}/").content.decode()
    assert "Ana Ferreira is reading this" in seen
    assert seen.count("Ana Ferreira is reading") == 2
    pulse = client.get("/queue/pulse/").json()
    assert pulse["readers"] == {str(message.public_id): [[str(reviewer.pk), "Ana Ferreira"]]}
    # Prefetching the page is not reading.
    enqueue.flush(60)
    assert read_by_others(reviewer) == {}
    post_presence(signed_in(reviewer), message, left="on")
    assert read_by_others(second_reviewer) == {}


def test_reader_is_known_to_those_who_see_the_message_and_for_45_seconds_alone(
    patient_redis, signed_in, reviewer, second_reviewer, message
):
    before = patient_redis.time()[0]
    post_presence(signed_in(reviewer), message)
    assert list(read_by_others(second_reviewer).values()) == [["Ana Ferreira"]]
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    assert read_by_others(stranger) == {}
    assert post_presence(signed_in(stranger), message).status_code == 404
    # A silent reader is gone.
    ((member, until),) = patient_redis.zrange(KEY, 0, -1, withscores=True)
    assert before + 20 < until <= patient_redis.time()[0] + 45
    assert 0 < patient_redis.ttl(KEY) <= 45
    patient_redis.zadd(KEY, {member: patient_redis.time()[0] - 1})
    assert read_by_others(second_reviewer) == {}
    # The next report forgets who is gone.
    other = make_message(message.connection)
    post_presence(signed_in(reviewer), other)
    assert read_by_others(second_reviewer) == {str(other.public_id): ["Ana Ferreira"]}
    assert (patient_redis.zcard(KEY), patient_redis.zcard(BY_MESSAGE)) == (1, 1)


def test_presence_ends_when_the_message_is_decided_and_comes_back_when_it_is_held_again(
    signed_in, reviewer, second_reviewer, message, django_capture_on_commit_callbacks
):
    post_presence(signed_in(second_reviewer), message)
    other = make_message(message.connection)
    post_presence(signed_in(second_reviewer), other)
    fields = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    with django_capture_on_commit_callbacks(execute=True):
        assert signed_in(reviewer).post(f"/queue/{message.public_id}/verdict/", fields).status_code == 302
    # A page that has not heard of it yet may still report.
    post_presence(signed_in(second_reviewer), message)
    assert read_by_others(reviewer) == {str(other.public_id): ["Ben Okafor"]}
    assert signed_in(reviewer).post(f"/queue/{message.public_id}/undo/").status_code == 302
    post_presence(signed_in(second_reviewer), message)
    assert set(read_by_others(reviewer)) == {str(message.public_id), str(other.public_id)}


def test_what_others_put_there_breaks_nothing(patient_redis, reviewer):
    soon = patient_redis.time()[0] + 600
    for key in (KEY, BY_MESSAGE):
        patient_redis.zadd(key, {b"\xff": soon, "{}": soon, '["x", 1, 2, 3, 4]': soon, "[1]": soon})
    assert read_by_others(reviewer) == {}


def test_stalled_redis_times_out_after_a_fraction_of_a_second_and_is_then_skipped(reviewer, settings, monkeypatch):
    monkeypatch.setattr(presence, "PATIENCE", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        presence._client.cache_clear()
        assert read_by_others(reviewer) == {}
        limits = presence._client(os.getpid()).connection_pool.connection_kwargs
        assert (limits["socket_timeout"], limits["socket_connect_timeout"]) == (0.4, 0.4)
        silent.setblocking(False)
        asked = silent.accept()
        read_by_others(reviewer)
        with pytest.raises(BlockingIOError):
            silent.accept()
        asked[0].close()

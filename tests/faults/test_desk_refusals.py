"""MultiMail answers a decision with 429, 401 or 403: each means something else, and nothing is lost.

404, 409 and 422 are told by test_desk_main_faults.
"""

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@pytest.fixture
def nothing_waits(desk):
    """Reset the connection after each test."""
    yield
    desk.sql("UPDATE mirror_connection SET wait_until = NULL")
    desk.reconcile()
    desk.wait(lambda: not desk.connection()["paused_at"], "the pause to end")


def test_429_makes_the_connection_wait_as_told(desk, nothing_waits):
    first, second = desk.hold(), desk.hold()
    with desk.upstream.fault(wire.answering(429, Retry_After="3600"), DECIDE, first.upstream_id, times=1):
        assert desk.decide(first) == 302
        desk.wait(lambda: desk.connection()["wait_until"], "the connection to wait")
    [waits] = desk.sql(
        "SELECT extract(epoch FROM wait_until - now()) AS seconds FROM mirror_connection WHERE slug = 'demo'"
    )
    assert 3590 < waits["seconds"] <= 3600
    assert desk.decide(second) == 302
    # A worker that checked for a pause before it began still makes that one call.
    desk.wait_for_idle()
    asked = len(desk.upstream.seen)
    for held in (first, second):
        desk.let_fall_due(held)
    desk.sweep_through()
    assert [desk.decision(held)["state"] for held in (first, second)] == ["recorded", "recorded"]
    assert len(desk.upstream.seen) == asked
    desk.sql("UPDATE mirror_connection SET wait_until = now()")
    for held in (first, second):
        desk.sweep_to(held, "applied")
    assert (desk.calls(first), desk.calls(second)) == (2, 1)


def test_revoked_key_pauses_the_connection_and_says_so(desk, nothing_waits):
    messages = [desk.hold() for _ in range(2)]
    before = desk.sql("SELECT max(id) AS id FROM audit_entry")[0]["id"]
    for held, status in zip(messages, (401, 403), strict=True):
        with desk.upstream.fault(wire.answering(status, b'{"error": "This key was revoked."}'), kind=""):
            assert desk.decide(held) == 302
            desk.wait(lambda: desk.connection()["paused_at"], f"the connection to be paused by {status}")
            # A worker that checked for a pause before it began still makes that one call.
            desk.wait_for_idle()
            asked = len(desk.upstream.requests(READ)) + len(desk.upstream.requests(DECIDE))
            desk.let_fall_due(held)
            desk.sweep_through()
            assert len(desk.upstream.requests(READ)) + len(desk.upstream.requests(DECIDE)) == asked
            assert desk.wait_for_decision(held, "recorded")["may_have_left"] is False
            assert "is paused" in desk.ana.get("/queue/").text
        desk.reconcile()
        desk.sweep_to(held, "applied")
        assert len(desk.upstream.reached(DECIDE, held.upstream_id)) == 1
    entries = "SELECT count(*) AS n FROM audit_entry WHERE action = 'connection.paused' AND id > %s"
    assert desk.sql(entries, before) == [{"n": 2}]


def test_403_to_one_decision_refuses_it_alone(desk):
    held = desk.hold()
    with desk.upstream.fault(wire.answering(403, b'{"error": "Not yours."}'), DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        assert "Not yours." in desk.wait_for_decision(held, "refused")["explanation"]
    assert desk.connection()["paused_at"] is None
    assert desk.ana.find(held.upstream_id)["state"] == "held"
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")
    assert len(desk.effects(held)) == 1

"""MultiMail answers a decision with 409, 404, 422, 429, 401 or 403: each means something else, and nothing is lost."""

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ, WEBHOOK

pytestmark = pytest.mark.xdist_group("desk-faults")


def calls(desk, held):
    return len(desk.upstream.requests(DECIDE, held.upstream_id))


def without_webhooks(desk, held):
    return desk.hooks.fault(wire.answering(200), WEBHOOK, held.upstream_id)


def decide_again(desk, held):
    """See that it is held and can be decided like any other, and do so."""
    assert desk.ana.find(held.upstream_id)["state"] == "held"
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")
    assert len(desk.effects(held)) == 1


@pytest.fixture
def nothing_waits(desk):
    """Whatever a test did to the connection is over when the next one begins."""
    yield
    desk.sql("UPDATE approvals_connection SET wait_until = NULL")
    desk.reconcile()
    desk.wait(lambda: not desk.connection()["paused_at"], "the pause to end")


@pytest.mark.proves("contract 48")
@pytest.mark.fault(
    5,
    injected="A proxy answers 429 with Retry-After: 3600 to one decide call.",
    held="The whole connection waits so long, without a call; then each decision goes once.",
)
def test_429_makes_the_connection_wait_as_told(desk, nothing_waits):
    first, second = desk.hold(), desk.hold()
    with desk.upstream.fault(wire.answering(429, Retry_After="3600"), DECIDE, first.upstream_id, times=1):
        assert desk.decide(first) == 302
        desk.wait(lambda: desk.connection()["wait_until"], "the connection to wait")
    [waits] = desk.sql(
        "SELECT extract(epoch FROM wait_until - now()) AS seconds FROM approvals_connection WHERE slug = 'demo'"
    )
    assert 3590 < waits["seconds"] <= 3600
    assert desk.decide(second) == 302
    asked = len(desk.upstream.seen)
    for held in (first, second):
        desk.let_fall_due(held)
    desk.sweep_through()
    assert [desk.decision(held)["state"] for held in (first, second)] == ["recorded", "recorded"]
    assert len(desk.upstream.seen) == asked
    desk.sql("UPDATE approvals_connection SET wait_until = now()")
    for held in (first, second):
        desk.sweep_to(held, "applied")
    assert (calls(desk, first), calls(desk, second)) == (2, 1)


@pytest.mark.fault(
    6,
    injected="A proxy answers 401, or 403 to reads too, as MultiMail does once a key is revoked.",
    held="The connection is paused and every page says so; no storm; with a good key it goes on by itself.",
)
@pytest.mark.parametrize("status", [401, 403])
def test_revoked_key_pauses_the_connection_and_says_so(desk, nothing_waits, status):
    held = desk.hold()
    with desk.upstream.fault(wire.answering(status, b'{"error": "This key was revoked."}'), kind=""):
        assert desk.decide(held) == 302
        desk.wait(lambda: desk.connection()["paused_at"], "the connection to be paused")
        # Whoever had asked whether it is paused before it was still has that one call on its way.
        desk.wait_for_idle()
        asked = len(desk.upstream.requests(READ)) + len(desk.upstream.requests(DECIDE))
        desk.let_fall_due(held)
        desk.sweep_through()
        assert len(desk.upstream.requests(READ)) + len(desk.upstream.requests(DECIDE)) == asked
        assert desk.wait_for_decision(held, "recorded")["may_have_left"] is False
        assert "is paused" in desk.ana.get("/queue/").text
        assert desk.sql("SELECT 1 FROM audit_entry WHERE action = 'connection.paused' AND id > %s", desk.verified)
    desk.reconcile()
    desk.sweep_to(held, "applied")
    assert len(desk.upstream.reached(DECIDE, held.upstream_id)) == 1


@pytest.mark.fault(
    6,
    injected="A proxy answers 403 to the decide call alone.",
    held="Only that decision is refused, with what MultiMail said; the message is held again.",
)
def test_403_to_one_decision_refuses_it_alone(desk):
    held = desk.hold()
    with desk.upstream.fault(wire.answering(403, b'{"error": "Not yours."}'), DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        assert "Not yours." in desk.wait_for_decision(held, "refused")["explanation"]
    assert desk.connection()["paused_at"] is None
    decide_again(desk, held)


@pytest.mark.proves("contract 48")
@pytest.mark.fault(
    7,
    injected="A proxy answers 422 or 400 to the decide call.",
    held="Refused with what MultiMail said, held again, verdict void; the next decision goes.",
)
@pytest.mark.parametrize("status", [422, pytest.param(400, marks=pytest.mark.slow)])
def test_rejected_call_leaves_the_message_held(desk, status):
    held = desk.hold()
    with desk.upstream.fault(wire.answering(status, b'{"error": "No."}'), DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        assert f"{status}: No." in desk.wait_for_decision(held, "refused")["explanation"]
    decide_again(desk, held)
    assert calls(desk, held) == 2


@pytest.mark.proves("contract 48")
@pytest.mark.fault(
    7,
    injected="A proxy answers 404 to the decide call, although MultiMail holds the message.",
    held="Refused and shown as gone; the next whole read finds it again, and it can be decided.",
)
def test_404_marks_it_gone_until_a_read_finds_it(desk):
    held = desk.hold()
    with desk.upstream.fault(wire.answering(404), DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        desk.wait_for_decision(held, "refused")
        desk.wait_for_message(held, "gone", "held")
    assert desk.entries(held, "message.gone")
    desk.reconcile()
    desk.wait_for_message(held, "held")
    decide_again(desk, held)


@pytest.mark.proves("contract 48")
@pytest.mark.fault(
    7,
    injected="The network delivers the decide call twice, and only the second answer comes back: MultiMail's own 409.",
    held="The 409 carries our reference, so the decision is applied.",
)
def test_409_with_our_decision_closes_it(desk):
    held = desk.hold()
    with without_webhooks(desk, held), desk.upstream.fault(wire.deliver_twice, DECIDE, held.upstream_id):
        assert desk.decide(held) == 302
        decision = desk.wait_for_decision(held, "applied")
    [call] = desk.upstream.reached(DECIDE, held.upstream_id)
    assert (call.status, decision["attempt"]) == (409, 1)


@pytest.mark.proves("contract 48")
@pytest.mark.fault(
    7,
    injected="Somebody decides at MultiMail while the proxy holds our decide call: it answers 409 with theirs.",
    held="Superseded, and the page says what was decided and by whom.",
)
@pytest.mark.parametrize("action", ["reject", "approve"])
def test_409_with_another_decision_shows_the_conflict(desk, action):
    held = desk.hold()
    call = wire.Hold()
    with without_webhooks(desk, held), desk.upstream.fault(call, DECIDE, held.upstream_id):
        assert desk.decide(held, reason="Fine") == 302
        call.wait()
        assert desk.decide_elsewhere(held, action).status_code == 200
        call.release()
        decision = desk.wait_for_decision(held, "superseded")
    assert f"{action}ed" in decision["explanation"] or f"{action}d" in decision["explanation"]
    assert "Countersign" in decision["explanation"]
    assert len(desk.entries(held, "decision.superseded")) == 1
    desk.reconcile()
    desk.wait_for_message(held, *(["rejected"] if action == "reject" else ["scheduled_approved", "approved", "sent"]))
    assert "outside this desk" in desk.ana.get(f"/queue/{held.id}/").text


@pytest.mark.proves("contract 48")
def test_200_closes_the_row(desk):
    held = desk.hold()
    with without_webhooks(desk, held):
        assert desk.decide(held, "reject", reason="No such order") == 302
        decision = desk.wait_for_decision(held, "applied")
        # It does not wait for the webhook, which is lost, nor for the next whole read.
        assert desk.ana.find(held.upstream_id) is None
        assert desk.ana.find(held.upstream_id, tab="leaving")["decision"] == "applied"
        desk.reconcile()
        desk.wait_for_message(held, "rejected")
    assert desk.ana.find(held.upstream_id, tab="done")["state"] == "rejected"
    assert decision["upstream_answer"]["decision"] == "rejected"
    assert desk.email(held)["decision_reason"].startswith("No such order [countersign:")

"""The kill switch and expiry against calls that are due or under way, measured by what reaches MultiMail."""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def pulled(desk):
    """Pull the kill switch for everything, as a reviewer does; an admin releases it at the end."""
    page = desk.ana.get("/stop/")
    answer = desk.ana.post("/stop/pull/", page, scope="all", reason="Something is wrong with the agent")
    assert answer.status_code == 302, answer.text
    desk.note("REVIEWER", "pull the kill switch")
    try:
        yield
    finally:
        admin = desk.person("ADMIN")
        for switch in desk.sql("SELECT id FROM policy_killswitch WHERE released_at IS NULL"):
            assert admin.post(f"/stop/{switch['id']}/release/", admin.get("/stop/")).status_code == 302
        desk.note("ADMIN", "release the kill switch")


def test_kill_switch_stops_every_call(desk):
    """For approvals and rejections: a call in flight completes, one before its call does not, nothing follows."""
    flying, marking, *stream = (desk.hold() for _ in range(6))
    call, read = wire.Hold(), wire.Hold(after_answer=True)
    with contextlib.ExitStack() as faults, desk.undo_window():
        for number, held in enumerate(stream):
            assert desk.decide(held, ("approve", "reject")[number % 2]) == 302
        faults.enter_context(desk.upstream.fault(call, DECIDE, flying.upstream_id))
        faults.enter_context(desk.upstream.fault(read, READ, marking.upstream_id, times=1))
        for held in (flying, marking):
            assert desk.decide(held) == 302
            desk.let_fall_due(held)
        desk.sweep()
        call.wait()
        read.wait()
        for held in stream[:2]:
            desk.let_fall_due(held)
            desk.sweep_to(held, "applied")
        with pulled(desk):
            called = len(desk.upstream.requests(DECIDE))
            read.release()
            for held in stream[2:]:
                desk.let_fall_due(held)
            desk.sweep()
            desk.wait_for_idle(but=1)
            assert len(desk.upstream.requests(DECIDE)) == called
            assert desk.upstream.requests(DECIDE, marking.upstream_id) == []
            waiting = [desk.decision(held) for held in stream if desk.decision(held)["state"] == "recorded"]
            assert {decision["outcome"] for decision in waiting} == {"approve", "reject"}
            assert "Ana Ferreira pulled the kill switch" in desk.ben.get("/queue/").text
            # Calls in flight are complete, decisions before their call can be undone, and reading continues.
            call.release()
            desk.wait_for_decision(flying, "applied")
            page = desk.ana.get(f"/queue/{marking.id}/")
            assert desk.ana.post(f"/queue/{marking.id}/undo/", page).status_code == 302
            desk.wait_for_decision(marking, "undone")
            desk.hold()
        for held in stream:
            desk.sweep_to(held, "applied")


def let_expire(desk, held):
    """The message has expired."""
    desk.sql("UPDATE mirror_message SET expires_at = now() - interval '1 second' WHERE public_id = %s", held.id)


def expired(desk, held):
    """Wait until the rule has rejected a message at MultiMail, and return its decision."""
    decision = desk.sweep_to(held, "applied")
    assert (decision["rule"], decision["outcome"], decision["given_by_id"]) == ("expiry", "reject", None)
    assert desk.email(held)["status"] == "rejected"
    assert desk.email(held)["decision_reason"].startswith("Expired")
    assert desk.mails(held) == 0
    return decision


def test_expired_message_is_rejected_with_that_reason_and_never_sent(desk):
    untouched, approved = desk.hold(), desk.hold()
    with desk.undo_window():
        assert desk.decide(approved) == 302
    for held in (untouched, approved):
        let_expire(desk, held)
    desk.let_fall_due(approved)
    for held in (untouched, approved):
        expired(desk, held)
    assert [one["state"] for one in desk.decisions(approved)] == ["refused", "applied"]
    assert desk.decide(untouched) == 409


def test_expiry_while_the_approval_may_arrive_rejects_it_first(desk):
    held = desk.hold()
    call = wire.Hold()
    with desk.upstream.fault(call, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        call.wait()
        let_expire(desk, held)
        # A call that is under way is left to its time limit; the lease is the last of them.
        desk.let_lease_end(held)
        desk.sweep_until(lambda: len(desk.decisions(held)) == 2, "the rule to reject it")
        assert desk.decisions(held)[0]["state"] in ("withdrawn", "superseded")
        expired(desk, held)
        call.release()
    desk.wait(lambda: desk.decisions(held)[0]["state"] == "superseded", "the late approval to have lost")
    assert desk.mails(held) == 0


def test_expiry_after_the_approval_took_effect_says_that_it_left(desk):
    held = desk.hold()
    call = wire.Hold(after_answer=True)
    lost = desk.without_webhooks(held)
    with lost, desk.upstream.fault(call, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        call.wait()
        let_expire(desk, held)
        # A call that is under way is left to its time limit; the lease is the last of them.
        desk.let_lease_end(held)
        desk.sweep_until(lambda: desk.decisions(held)[0]["state"] == "applied", "MultiMail to be asked")
        call.release()
        desk.reconcile()
        desk.wait(lambda: desk.message(held)["state"] != "held", "the mirror to follow")
    assert [one["state"] for one in desk.decisions(held)][1:] in ([], ["superseded"])
    assert desk.entries(held, "decision.left_after_all")
    assert "sent after all" in desk.ana.get(f"/queue/{held.id}/").text.lower()

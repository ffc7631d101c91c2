"""Many at once over real HTTP: one message a key, one outcome a message, one mail an approval."""

import threading

import pytest

from tests.conformance.tenant import ok, unique

pytestmark = pytest.mark.xdist_group("gateway-faults")


def at_once(*calls):
    """Make the calls in threads that start together, and return their answers."""
    barrier, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number, call):
        barrier.wait(5)
        answers[number] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def flat(tenant, subject, **fields):
    """The same letter by the flat call."""
    body = {"from": tenant.address, "to": "dana@northwind.example", "subject": subject, "body": "Hello **Dana**"}
    return tenant.call("POST", "/send_email", json=body | fields)


@pytest.mark.slow
def test_one_key_from_twenty_threads_in_both_dialects_is_one_message(rig, tenant):
    """Review desk, case 19."""
    subject, key = unique("Once"), unique("key")
    ways = [
        lambda: tenant.submit(subject=subject, idempotency_key=key),
        lambda: tenant.submit(subject=subject, headers={"Idempotency-Key": key}),
        lambda: flat(tenant, subject, idempotency_key=key),
        # Other content under the same key: never a second message.
        lambda: tenant.submit(subject=unique("Else"), idempotency_key=key),
    ]
    answers = at_once(*ways * 5)
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    [email_id] = {answer.json()["id"] for answer in answers}
    repeats = [answer.json() for answer in answers if answer.status_code == 200]
    assert all(answer["idempotent"] for answer in repeats)
    tenant.wait_for_status(email_id, "pending_send_approval")
    [row] = tenant.pending()
    ok(tenant.decide(email_id, "approve"))
    tenant.wait_for_mails(row["subject"])
    tenant.wait_for_status(email_id, "sent")
    assert len(rig.gateway.mails(row["subject"])) == 1
    later = ok(tenant.submit(subject=row["subject"], idempotency_key=key))
    assert (later["id"], len(tenant.pending())) == (email_id, 0)
    other = ok(tenant.submit(subject=unique("Else"), idempotency_key=key))
    assert (other["id"], other["idempotency_mismatch"], len(tenant.pending())) == (email_id, True, 0)


@pytest.mark.parametrize("second", ["cancel", "reject", "approve"])
def test_one_of_many_at_once_wins_and_all_others_learn_it(rig, tenant, second):
    hook = tenant.subscribe("email.decided", "message.cancelled", "message.sent")
    for _ in range(3):
        subject = unique("Race")
        email_id = tenant.held(subject=subject)["id"]

        def approve(email_id=email_id):
            return tenant.decide(email_id, "approve", reason="first")

        def against(email_id=email_id):
            return tenant.cancel(email_id) if second == "cancel" else tenant.decide(email_id, second, reason="second")

        answers = at_once(*[approve, against] * 3)
        # Cancelling twice is no error, so several may have cancelled; everything else has one winner.
        winners = [answer for answer in answers if answer.status_code == 200]
        losers = [answer for answer in answers if answer.status_code == 409]
        assert len(winners) + len(losers) == len(answers)
        outcomes = {answer.json()["status"] for answer in winners}
        assert len(outcomes) == 1
        assert len(winners) == 1 or outcomes == {"cancelled"}
        if outcomes & {"approved_and_sent", "approved"}:
            assert {answer.json()["decision"] for answer in losers} == {"approved"}
            tenant.wait_for_mails(subject)
            tenant.wait_for_status(email_id, "sent")
            expected = ["email.decided", "message.sent"]
        else:
            assert {answer.json()["status"] for answer in losers} == outcomes
            expected = ["message.cancelled"] if outcomes == {"cancelled"} else ["email.decided"]

        def events(email_id=email_id):
            return [event.body["event"] for event in tenant.events(hook) if event.body["email_id"] == email_id]

        tenant.wait(lambda: len(events()) >= len(expected), "the events")  # noqa: B023
        assert events() == expected
        assert len(rig.gateway.mails(subject)) == ("message.sent" in expected)

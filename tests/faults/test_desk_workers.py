"""Workers that die again and again, and a beat that slept."""

import contextlib
import signal
import threading

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def killing(desk, seconds):
    """Kill each worker this long after it was ready, during the block; the list has the
    killed ones.
    """
    killed = []
    is_over = threading.Event()

    def lives():
        return desk.stack.log("worker-desk").count("ready.")

    def go_on():
        seen = 0
        while not is_over.wait(0.05):
            if lives() > seen and not is_over.wait(seconds):
                seen = lives()
                with contextlib.suppress(KeyError, ProcessLookupError):
                    killed.append(desk.stack.kill("worker-desk"))

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join(60)
        desk.give_up_unacked()


def test_worker_killed_every_two_seconds_still_makes_progress(desk):
    messages = [desk.hold() for _ in range(2)]
    with killing(desk, 2) as killed:
        desk.wait(lambda: killed, "the first death")
        for held in messages:
            assert desk.decide(held) == 302
        sent = desk.send()

        def progress():
            for held in messages:
                desk.let_lease_end(held)
                desk.let_fall_due(held)
            return any(desk.decision(held)["state"] == "applied" for held in messages)

        desk.wait(progress, "one of the decisions to be carried out")
        desk.wait(lambda: desk.fetched(sent[0]), "the content of what came meanwhile")
        messages.append(desk.shown(*sent))
        desk.wait(lambda: len(set(killed)) >= 3, "three workers to be killed")
        assert desk.decide(messages[-1]) == 302
    desk.bring_to_end(*messages)


def test_beat_that_stops_for_half_an_hour_is_reported_and_recovers_automatically(desk):
    desk.stack.kill("worker-desk", signal.SIGSTOP)
    try:
        sent = desk.send()
        desk.wait(
            lambda: desk.sql(
                "SELECT 1 FROM mirror_message WHERE upstream_id = %s", sent[0]
            ),
            "the webhook",
        )
        desk.sql("UPDATE dashboard_tick SET at = at - interval '30 minutes'")
        desk.sql(
            "UPDATE mirror_connection SET complete_as_of = complete_as_of - interval '30 minutes', "
            "read_at = read_at - interval '30 minutes', reading_until = NULL"
        )
        answer = desk.ana.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["parts"]["beat and worker"] is False
        doctor = desk.stack.run("manage", "doctor")
        assert doctor.returncode == 2
        assert "Decisions are not carried out" in doctor.stdout
        assert 'data-level="red"' in desk.ana.get("/queue/").text
    finally:
        desk.stack.kill("worker-desk", signal.SIGCONT)
    held = desk.shown(*sent)
    desk.wait(
        lambda: desk.ana.get("/readyz").status_code == 200, "the desk to be ready again"
    )
    desk.wait(
        lambda: 'data-level="green"' in desk.ana.get("/queue/").text,
        "the page to be fresh",
    )
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")

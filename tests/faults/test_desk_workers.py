"""Workers that die again and again, a mail that kills whoever works on it, and beats: two, none, and one that slept."""

import contextlib
import os
import signal
import subprocess
import threading

import psycopg
import pytest

from launcher.paths import PYTHON, ROOT
from launcher.pdeathsig import die_with_parent
from tests.faults.proxy import LIST

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def killing(desk, seconds):
    """Kill each worker this long after it was ready, during the block; the list has the killed ones."""
    killed, is_over = [], threading.Event()

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


@contextlib.contextmanager
def storing_kills(desk):
    """Hold whoever stores the content of a message, and give a function that waits until somebody does and kills it."""
    waiting = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'mirror_revision'::regclass"
    with psycopg.connect(desk.stack.env["DATABASE_OWNER_URL"]) as database:
        database.execute("LOCK TABLE mirror_revision IN SHARE MODE")

        def kill():
            desk.sweep_until(lambda: desk.sql(waiting), "a worker to store its content")
            desk.restart("worker-desk")
            for row in desk.sql(waiting):
                desk.sql("SELECT pg_terminate_backend(%s)", row["pid"])
            desk.wait(lambda: not desk.sql(waiting), "the dead worker's session to end")

        yield kill


def test_mail_that_kills_its_worker_is_put_aside_after_three_deaths(desk):
    tries = "SELECT fetch_tries, state FROM mirror_message WHERE upstream_id = %s"
    with storing_kills(desk) as kill:
        upstream_id, subject = desk.send()
        desk.wait(lambda: desk.sql(tries, upstream_id), "the webhook of the mail")
        for number in (1, 2, 3):
            kill()
            assert desk.sql(tries, upstream_id) == [{"fetch_tries": number, "state": "held"}]
    other = desk.hold()
    desk.sweep_through()
    desk.reconcile()
    desk.wait_for_idle()
    assert desk.sql(tries, upstream_id)[0]["fetch_tries"] >= 3
    assert not desk.fetched(upstream_id)
    assert subject in desk.person("ADMIN").get("/attention/").text
    assert desk.decide(other) == 302
    desk.wait_for_decision(other, "applied")
    [message] = desk.sql("SELECT public_id FROM mirror_message WHERE upstream_id = %s", upstream_id)
    again = f"/attention/{message['public_id']}/look/"
    assert desk.person("ADMIN").post(again, desk.person("ADMIN").get("/attention/")).status_code == 302
    held = desk.sweep_until(lambda: desk.fetched(upstream_id) and desk.shown(upstream_id, subject), "its content")
    assert desk.decide(held, "reject") == 302
    desk.wait_for_decision(held, "applied")


@contextlib.contextmanager
def second_worker(desk):
    """Run one more worker with its own beat, as a second host would."""
    parent = os.getpid()
    with (desk.stack.data / "log" / "second.log").open("wb") as log:
        worker = subprocess.Popen(
            [str(PYTHON), "-m", "dashboard.worker", "second", "decisions,sync", "2"],
            cwd=ROOT,
            env={**os.environ, **desk.stack.env, "BEAT": "dashboard"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent=parent),
        )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait(20)


def test_two_beats_do_each_job_once_a_period(desk):
    desk.wait_for_idle()
    before = desk.sql("SELECT max(id) AS id FROM dashboard_tick")[0]["id"]
    with second_worker(desk):
        reads = len(desk.upstream.requests(LIST))
        for _ in range(10):
            # Only the row prevents the connection from being read again.
            desk.sql("UPDATE mirror_connection SET read_at = NULL, reading_until = NULL")
            desk.celery.send_task("dashboard.tasks.tick", args=["approvals.tasks.reconcile_all", 86400], queue="sync")
            desk.wait_for_idle()
        assert len(desk.upstream.requests(LIST)) - reads <= 2, "one for these ten, one for the beat's own period"
        beats = "SELECT count(*) AS n FROM dashboard_tick WHERE id > %s AND job = 'approvals.tasks.sweep'"
        desk.wait(lambda: desk.sql(beats, before)[0]["n"] >= 2, "two periods with two beats")
    desk.sql("DELETE FROM dashboard_tick WHERE period < 100000")
    doubled = "SELECT job, period FROM dashboard_tick GROUP BY job, period HAVING count(*) > 1"
    assert desk.sql(doubled) == []


def test_beat_that_stops_for_half_an_hour_is_reported_and_recovers_automatically(desk):
    desk.stack.kill("worker-desk", signal.SIGSTOP)
    try:
        sent = desk.send()
        desk.wait(lambda: desk.sql("SELECT 1 FROM mirror_message WHERE upstream_id = %s", sent[0]), "the webhook")
        desk.sql("UPDATE dashboard_tick SET at = at - interval '30 minutes'")
        desk.sql(
            "UPDATE mirror_connection SET complete_as_of = complete_as_of - interval '30 minutes', "
            "read_at = read_at - interval '30 minutes', reading_until = NULL"
        )
        answer = desk.ana.get("/readyz")
        assert (answer.status_code, answer.json()["parts"]["beat and worker"]) == (503, False)
        doctor = desk.stack.run("manage", "doctor")
        assert doctor.returncode == 2
        assert "Decisions are not carried out" in doctor.stdout
        assert 'data-level="red"' in desk.ana.get("/queue/").text
    finally:
        desk.stack.kill("worker-desk", signal.SIGCONT)
    held = desk.shown(*sent)
    desk.wait(lambda: desk.ana.get("/readyz").status_code == 200, "the desk to be ready again")
    desk.wait(lambda: 'data-level="green"' in desk.ana.get("/queue/").text, "the page to be fresh")
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")

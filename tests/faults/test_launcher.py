"""What `./run` promises about processes: none is left behind, none stays dead, and a
crash needs no hand.
"""

import contextlib
import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import psycopg
import pytest

from tests.desk import Product
from tests.faults.answering import everything_answers, status
from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]


def test_end_of_the_session_leaves_no_process(launched):
    # Ctrl-C is tested when each product of the tests stops.
    assert launched.stop(signal.SIGHUP) == 0
    assert launched.processes() == {}


def test_kill_of_the_launcher_leaves_no_process(launched):
    launched.launcher.kill()
    launched.launcher.wait()
    launched.wait_for(lambda: launched.processes() == {}, 60, "every process is gone")


def test_kill_of_everything_is_recovered_from_without_a_hand(launched):
    before = _lasting(launched.credentials)
    # As if it had been down for an hour, and as if a whole read were under way.
    _sql(
        launched,
        "UPDATE mirror_connection SET complete_as_of = now() - interval '1 hour',"
        " whole_read_began = now(), reading_until = now() + interval '35 seconds'"
        " RETURNING id",
    )
    # Stopped first, so that none of them reacts to the end of another.
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for pid in [launched.launcher.pid, *launched.processes()]:
            # What a server or a worker starts for a moment may be over already.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
    launched.launcher.wait()
    began = datetime.now(UTC)
    launched.start()
    assert everything_answers(launched)
    assert _lasting(launched.credentials) == before
    # Changes during the outage are read at once, not with the next round in half a
    # minute.
    query = "SELECT bool_and(complete_as_of > %s) FROM mirror_connection"
    launched.wait_for(
        lambda: _sql(launched, query, began) == [(True,)],
        120,
        "every account to be read",
    )


def _sql(launched, query, *parameters):
    with psycopg.connect(launched.env["DATABASE_OWNER_URL"]) as database:
        return database.execute(query, parameters).fetchall()


def _lasting(credentials):
    """Return what survives a restart: keys and people; addresses change with the free
    ports.
    """
    return {
        name: value
        for name, value in credentials.items()
        if name.endswith(("_KEY", "_PASSWORD", "_EMAIL", "_ID"))
    }


def test_stop_verb_ends_a_detached_run(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("detached"), DEMO="0")
    try:
        detached = stack.run("--detach")
        assert detached.returncode == 0, detached.stderr
        assert detached.stdout.startswith("ready http://127.0.0.1:")
        assert "first_admin" in detached.stdout
        assert status(f"{stack.url}/readyz") == 200
    finally:
        stopped = stack.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert stack.processes() == {}
    # And a second time there is nothing to stop; to delete there is.
    assert stack.run("stop").stdout == "Nothing is running.\n"
    assert stack.run("reset").returncode == 1
    assert (stack.data / "postgres").exists()
    assert stack.run("reset", "--yes").returncode == 0
    assert [entry.name for entry in stack.data.iterdir()] == ["run.lock"]


def test_failed_preparation_is_a_sentence(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("bad"), LOG_FORMAT="xml")
    refused = stack.run()
    assert refused.returncode == 1
    assert "LOG_FORMAT must be one of json, text" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.processes() == {}


PROCESSES = "web gateway live parser worker-desk worker-out demo redis postgres".split()


@pytest.fixture
def product(launched):
    product = Product(launched)
    product.set_undo_window("200 milliseconds")
    return product


def test_line_survives_the_death_of_each_process(product):
    """What is decided before the next death shows that the line works after the last
    one.
    """
    stack = product.stack
    ana = product.reviewer()
    assert sorted(stack.pids()) == sorted(PROCESSES)
    decided = []
    for name in PROCESSES:
        decided.append(decide_one(product, ana, f"before {name} dies"))
        family = [
            pid for pid in stack.processes() if session_of(pid) == stack.pids()[name]
        ]
        before = stack.kill(name)
        product.wait_for(
            partial(is_another, stack, name, before),
            timeout=120,
            what=f"another {name}",
        )
        product.wait_for(
            lambda: everything_answers(stack),
            timeout=120,
            what=f"all to answer after {name} was killed",
        )
        # Its children would otherwise hold its port or continue its work.
        assert not [pid for pid in family if pid in stack.processes()]
        assert f"{name} ended" in stack.output.read_text()
        wait_for_its_mail_and_card(product, decided[-1], f"decided before {name} died")
    decided.append(decide_one(product, ana, "after all deaths"))
    wait_for_its_mail_and_card(product, decided[-1], "decided after all deaths")
    assert {
        subject: len(product.mails(subject)) for subject in decided
    } == dict.fromkeys(decided, 1)
    # A post whose worker dies before Discord's answer may appear twice.
    cards = {subject: len(product.cards(subject)) for subject in decided}
    assert all(0 < number <= 2 for number in cards.values()), cards


def is_another(stack, name, before):
    return stack.pids().get(name, before) != before


def session_of(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def decide_one(product, ana, when):
    """Send a message and approve it, and return its subject."""
    upstream_id, subject = product.wait_for(
        product.send, timeout=120, what=f"the gateway to take a message {when}"
    )
    row = product.held(ana, upstream_id)

    def approved():
        return ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302

    product.wait_for(approved, timeout=120, what=f"a decision {when}")
    return subject


def wait_for_its_mail_and_card(product, subject, which):
    def left():
        with suppress(OSError):
            return product.mails(subject)

    product.wait_for(left, timeout=120, what=f"the mail {which}")
    product.wait_for(
        lambda: product.cards(subject), timeout=120, what=f"the card {which}"
    )

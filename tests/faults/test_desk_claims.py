"""Concurrency: one claim of a decision, one decision on a message, and all others get a
conflict.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults import wire
from tests.faults.proxy import DECIDE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

TIMES = 50


def test_wake_up_published_many_times_is_one_call(desk):
    held = desk.hold()
    with desk.undo_window():
        assert desk.decide(held) == 302
    call = wire.Hold()
    with desk.upstream.fault(call, DECIDE, held.upstream_id):
        desk.let_fall_due(held)
        decision = desk.decision(held)["id"]
        for _ in range(40):
            desk.celery.send_task(
                "approvals.tasks.execute_decision", args=[decision], queue="decisions"
            )
        call.wait()
        # During the call all others find nothing to claim.
        desk.sweep()
        desk.wait_for_idle(but=1)
        call.release()
    assert desk.wait_for_decision(held, "applied")["attempt"] == 1
    assert desk.calls(held) == 1
    assert len(desk.entries(held, "decision.calling")) == 1


def click(desk, who, held, outcome):
    """Return a function that posts one verdict, with a page's token but without asking
    for the page each time.
    """
    browser = desk.person(who)
    page = browser.get(f"/queue/{held.id}/").text
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    data = {
        "csrfmiddlewaretoken": token,
        "outcome": outcome,
        "fingerprint": held.fingerprint,
        "reason": "Because",
    }
    url = f"{browser.base_url}/queue/{held.id}/verdict/"
    cookies = browser.session.cookies.get_dict()

    def post():
        return requests.post(
            url, data=data, cookies=cookies, timeout=120, allow_redirects=False
        )

    return post


def at_once(calls):
    """Make the calls in threads that start together, and return their answers."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_two_reviewers_at_once_make_one_decision(desk):
    held = desk.hold()
    ana = click(desk, "REVIEWER", held, "approve")
    ben = click(desk, "REVIEWER2", held, "reject")
    answers = at_once([ana, ben] * (TIMES // 2))
    assert sorted({answer.status_code for answer in answers}) == [302, 409]
    assert [answer.status_code for answer in answers].count(302) == 1
    [decision] = desk.decisions(held)
    first = desk.sql(
        "SELECT name FROM people_person WHERE id = %s", decision["given_by_id"]
    )[0]["name"]
    conflicts = [answer.text for answer in answers if answer.status_code == 409]
    assert all(first in text and "first, at" in text for text in conflicts)
    assert desk.wait_for_decision(held, "applied")["attempt"] == 1
    assert len(desk.entries(held, "decision.recorded")) == 1

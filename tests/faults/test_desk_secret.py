"""The webhook's secret is rotated on its page while our gateway sends: no event is
refused, whatever breaks.
"""

import contextlib
import threading

import pytest

from tests.faults import wire
from tests.faults.proxy import OTHER, pass_on

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

KNOWN = """
from mirror.models import Connection
from gateway.models import Webhook
connection = Connection.objects.get(slug="demo")
webhook = Webhook.objects.alive().get(url__contains=connection.webhook_id)
for row, names in ((webhook, ("secret", "previous_secret", "previous_until")),
                   (connection, ("webhook_secret", "previous_webhook_secret", "previous_secret_until"))):
    for name, value in zip(names, ({secret!r}, "", None)):
        setattr(row, name, value)
    row.save()
connection.upstream_webhook_id = webhook.pk
connection.save()
result = webhook.pk
"""


# The gateway's queue limit: with more, a busy machine would reach the newest too late.
AHEAD = 20


@pytest.fixture
def hook(desk):
    """The desk's webhook at the gateway; its known secret is restored at the end."""
    known = KNOWN.format(secret=desk.known["WEBHOOK_SECRET"])
    yield desk.python(known)
    desk.python(known)


@contextlib.contextmanager
def gateway_sending(desk, hook):
    """Make the gateway send events during the block; the list has the ids of the
    requested ones.
    """
    asked = []
    problems = []
    is_over = threading.Event()

    def go_on():
        waiting = "SELECT count(*) AS n FROM gateway_webhookdelivery WHERE state IN ('due', 'sending')"
        try:
            while not is_over.is_set():
                if desk.sql(waiting)[0]["n"] > AHEAD:
                    is_over.wait(0.05)
                    continue
                answer = desk.product.call(
                    "POST", f"/v1/webhooks/{hook}/test", key="ADMIN_KEY", json={}
                )
                assert answer.status_code == 200, answer.text
                asked.append(answer.json()["event_id"])
                is_over.wait(0.05)
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            problems.append(error)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        is_over.set()
        thread.join(120)
    assert not problems, problems[0]


def rotate(desk, overlap):
    """Rotate the secret as an admin does, and return the status of the answer."""
    ida = desk.person("ADMIN")
    number = desk.sql("SELECT id FROM mirror_connection WHERE slug = 'demo'")[0]["id"]
    page = ida.get(f"/connections/{number}/")
    return ida.post(
        f"/connections/{number}/webhook/rotate/", page, overlap=overlap
    ).status_code


def arrived(desk, asked):
    """Wait until all requested events have arrived, and return the secrets that signed
    them.
    """
    ids = list(asked)
    query = "SELECT secret_used FROM mirror_webhookevent WHERE event_id = ANY(%s)"
    desk.wait(
        lambda: len(desk.sql(query, ids)) == len(ids), f"{len(ids)} events to arrive"
    )
    return {row["secret_used"] for row in desk.sql(query, ids)}


def more(desk, asked, number=10):
    """Wait for this many more, and return the secrets that signed them."""
    seen = len(asked)
    desk.wait(lambda: len(asked) > seen + number, "more events")
    return arrived(desk, asked[seen:])


def let_overlap_end(desk):
    """End the old secret, first at the gateway and then here."""
    desk.sql(
        "UPDATE gateway_webhook SET previous_until = now() WHERE previous_secret <> ''"
    )
    return (
        "UPDATE mirror_connection SET previous_secret_until = now() WHERE slug = 'demo'"
    )


def only_rotation(fault):
    return lambda exchange: (
        fault(exchange)
        if exchange.request.path.endswith("/rotate")
        else pass_on(exchange)
    )


def assert_nothing_was_refused(desk, asked, *, most=1):
    """Each event was taken at once, or at the latest by that attempt."""
    query = "SELECT attempts, response_status FROM gateway_webhookdelivery WHERE event_id = ANY(%s)"
    # The record is written after the answer.
    desk.wait(
        lambda: {row["response_status"] for row in desk.sql(query, asked)} == {200},
        "every answer to be noted",
    )
    rows = desk.sql(query, asked)
    assert len(rows) == len(asked)
    assert max(row["attempts"] for row in rows) <= most


def test_secret_changed_by_its_page_refuses_nothing_that_the_gateway_sends(desk, hook):
    with gateway_sending(desk, hook) as asked:
        more(desk, asked)
        assert rotate(desk, "none") == 302
        assert desk.connection()["previous_webhook_secret"] == ""
        assert more(desk, asked) == {"current"}
        arrived(desk, asked)
        assert_nothing_was_refused(desk, list(asked), most=2)
        asked.clear()
        assert rotate(desk, "hour") == 302
        assert more(desk, asked) == {"previous"}
        then_here = let_overlap_end(desk)
        more(desk, asked)
        desk.sql(then_here)
        assert more(desk, asked) == {"current"}
    arrived(desk, asked)
    assert_nothing_was_refused(desk, asked)


def test_secret_whose_change_breaks_off_refuses_nothing_and_is_finished_later(
    desk, hook
):
    with gateway_sending(desk, hook) as asked:
        for broken in (wire.cut_before, wire.lose_answer):
            with desk.upstream.fault(only_rotation(broken), OTHER):
                assert rotate(desk, "none") == 502
            more(desk, asked)
            held = desk.connection()
            assert held["previous_webhook_secret"] != ""
            assert held["previous_secret_until"] is None
            assert rotate(desk, "none") == 302
            assert more(desk, asked) == {"current"}
    arrived(desk, asked)
    assert_nothing_was_refused(desk, asked, most=2)

"""How many approvals an hour hosted MultiMail lets through: 150 ms a call, pages of 20,
one whole read a second.

MultiMail publishes no limit of calls a minute, so one is assumed beside none. The
figures are printed, not asserted.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now

from approvals.decisions.execute import run_decision
from approvals.models import Cap, Decision
from approvals.reconcile import reads as reconcile
from common.postgres import clock
from launcher.processes import DESK_THREADS
from mirror.models import Connection, Mailbox, Message
from mirror.sync import reads
from mirror.tasks import KEPT_FREE
from tests.factories import make_connection
from tests.hosted.running import OVERSIGHT, READ, hosted
from tests.integration.deciding import decide
from tests.serving import named

NUMBER = int(os.environ.get("SOAK_MESSAGES", "200"))


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("a_minute", [0, 100], ids=["no limit", "100 calls a minute"])
def test_approvals_an_hour_at_150_ms_a_call(reviewer, monkeypatch, a_minute, capsys):
    monkeypatch.setattr(reads, "READ_PAUSE", timedelta(seconds=1))
    with hosted("--temper", "strict") as host, named(host.url):
        keys = {"oversight_key": OVERSIGHT, "read_key": READ}
        fields = ["decided_by", "reason", "only"]
        connection = make_connection(
            api_url=host.url, is_our_gateway=False, refused_fields=fields, **keys
        )
        # So many alike would be set apart from the queue.
        for kind in ("key", "alike", "mailbox", "recipient"):
            Cap.objects.create(kind=kind, an_hour=0, a_day=0)
        for number in range(NUMBER):
            host.hold(subject=f"Letter {number}", markdown=f"Letter {number}")
        while (
            reconcile.read_everything(connection_id=connection.pk, now=clock())
            != f"{NUMBER} held"
        ):
            pass
        Mailbox.objects.update(undo_window=timedelta(0))
        for message in Message.objects.order_by("pk"):
            decide(message, reviewer)
        host.set(latency=0.15, calls_a_minute=a_minute)
        began = time.monotonic()
        calls_before = len(host.shown["calls"])
        with ThreadPoolExecutor(DESK_THREADS - KEPT_FREE) as pool:
            while due := list(
                Decision.objects.filter(state="recorded").values_list("pk", flat=True)
            ):
                Decision.objects.filter(pk__in=due, due_at__gt=Now()).update(
                    due_at=Now()
                )
                list(pool.map(carry_out, due))
                wait(connection)
        took = time.monotonic() - began
        shown = host.shown
    left = [one["email_id"] for one in shown["effects"]]
    assert len(left) == NUMBER
    assert len(set(left)) == NUMBER
    with capsys.disabled():
        calls = len(shown["calls"]) - calls_before
        print(
            f"\n{NUMBER} approvals in {took:.0f} s, {calls} calls: {NUMBER / took * 3600:,.0f} an hour"
        )


def carry_out(decision_id):
    """Carry out one decision in a session of its own, as a thread of the worker."""
    try:
        return run_decision(decision_id=decision_id)
    finally:
        connections.close_all()


def wait(connection):
    """Wait as long as the host asked for."""
    until = Connection.objects.values_list("wait_until", flat=True).get(
        pk=connection.pk
    )
    if until is not None and until > clock():
        time.sleep((until - clock()).total_seconds() + 0.1)

"""The worker is killed again and again while it mails the morning's summary to hundreds
of people: nobody gets it twice, and of what may be lost the log says so.
"""

import asyncio
from collections import Counter

import pytest

from alerts.deliveries.deliver import UNKNOWN
from tests.faults.desk_rig import DeskRig
from tests.faults.proxy import Proxy
from tests.integration.gateway import servers
from tests.stack import running_stack

PEOPLE = 500
KILLS = 12
# How many are mailed between two kills.
STEP = PEOPLE // (KILLS + 2)
# Seconds, of which the mail server takes its time for each mail.
DELAY = 0.05
SOON = 120

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed-among-notices")]

# It is nine in the morning for all of them, and something waits.
MAKE_PEOPLE = f"""
from datetime import timedelta
from common.postgres import clock
from people.models import Grant, Person
now = clock()
offset = 9 - now.hour
offset += 24 if offset < -12 else 0
people = Person.objects.bulk_create(
    Person(
        email=f"p{{number}}@yourteam.example",
        name=f"Person {{number}}",
        time_zone=f"Etc/GMT{{-offset:+d}}",
        joined_at=now - timedelta(days=3),
    )
    for number in range({PEOPLE})
)
Grant.objects.bulk_create(Grant(person=one, role="reviewer") for one in people)
"""


class MailServer(servers.MailServer):
    """A mail server that takes its time."""

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        await asyncio.sleep(DELAY)
        return await super().handle_DATA(server, session, envelope)


@pytest.fixture
def mail_server(monkeypatch):
    monkeypatch.setattr(servers, "MailServer", MailServer)
    with servers.mail_server() as running:
        yield running


def test_worker_killed_a_dozen_times_mails_nobody_twice(tmp_path_factory, mail_server):
    with running_stack(tmp_path_factory, EMAIL_URL=mail_server.url) as stack:
        rig = DeskRig(stack, *map(Proxy, stack.proxy_ports))
        rig.hold()
        rig.python(MAKE_PEOPLE)
        rig.celery.send_task("notices.tasks.summarise", queue="alerts")
        for kill in range(1, KILLS + 1):
            stack.wait_for(
                lambda most=kill * STEP: len(mail_server.taken) >= most,
                SOON,
                f"{kill * STEP} mails",
            )
            stack.kill("worker-desk")
        left = "SELECT 1 FROM alerts_delivery WHERE state IN ('due', 'sending') AND kind = 'notice'"
        stack.wait_for(lambda: not rig.sql(left), SOON, "the end of all deliveries")
        rows = rig.sql(
            "SELECT p.email, d.state, d.last_error FROM people_person p JOIN alerts_destination w ON w.owner_id = p.id "
            "JOIN alerts_delivery d ON d.destination_id = w.id AND d.kind = 'notice'"
        )
        mailed = Counter(one.rcpt_tos[0] for one in mail_server.taken)
        rig.shell.close()
    assert len(rows) == PEOPLE
    assert max(mailed.values()) == 1
    delivered = {one["email"] for one in rows if one["state"] == "delivered"}
    assert delivered <= mailed.keys()
    unknown = [one for one in rows if one["state"] != "delivered"]
    # A worker has six threads that mail.
    assert len(unknown) <= 6 * KILLS
    assert {one["last_error"] for one in unknown} <= {UNKNOWN}

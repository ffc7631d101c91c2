"""The desk connected to the stand-in for hosted MultiMail (`tests/hosted`).

The stand-in posts its webhooks to a small server, which stores them. `take_in` then
posts them to the desk in the test's own thread, because only that sees the test's
transaction.
"""

import contextlib
import re
from dataclasses import dataclass, field

from django.db.models import F
from django.db.models.functions import Now

from approvals.decisions.execute import run_decision
from approvals.reconcile import reads
from approvals.reconcile.closing import SETTLE_TIME, resolve
from common.postgres import clock
from mirror.models import Connection, Message
from mirror.sync.account import read_mailboxes
from tests.factories import change_row
from tests.hosted.host import ADMIN, AGENT, OVERSIGHT, READ, Host
from tests.integration.deciding import decide, make_due
from tests.markup import leads_to
from tests.serving import Handler, serving

KEYS = {
    "oversight_key": OVERSIGHT,
    "read_key": READ,
    "admin_key": ADMIN,
    "agent_key": AGENT,
}


@dataclass
class HostedDesk:
    """A host, the desk's connection to it, and the webhooks (`posted`) that the host
    sent and the desk has not received yet.
    """

    host: Host
    origin: str = ""
    posted: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    @property
    def connection(self):
        """The connection as it is now."""
        return Connection.objects.get()

    def connect(self, client):
        """Add the connection and its webhook on the desk's pages, as an admin does, and
        read the mailboxes and messages.
        """
        form = {"place": "other", "address": self.host.url, "name": "Hosted", **KEYS}
        leads_to(client.post("/connections/add/", form))
        leads_to(client.post(f"/connections/{self.connection.pk}/webhook/register/"))
        assert read_mailboxes(connection_id=self.connection.pk) == ""
        self.read()

    def read(self):
        """Reconcile, as the sweep does each half minute."""
        Connection.objects.update(read_at=None, reading_until=None)
        for _ in range(10):
            outcome = reads.read_everything(
                connection_id=self.connection.pk, now=clock()
            )
            if not outcome.endswith("continued"):
                break
        return outcome

    def take_in(self, client):
        """Post the host's webhooks to the desk in order; return the statuses."""
        self.host.undelivered.join()
        posted = [*self.posted]
        self.posted[:] = []
        return [
            client.post(
                path, body, content_type="application/json", headers=headers
            ).status_code
            for path, body, headers in posted
        ]

    def held(self, **fields):
        """Let an agent send a message and the desk read it; return the desk's row."""
        upstream_id = self.host.hold(**fields)
        self.read()
        return Message.objects.get(upstream_id=upstream_id)

    def decided(self, message, person, outcome="approve", reason=""):
        """Give a verdict and carry out the decision. Return the decision."""
        decision = decide(message, person, outcome, reason).decision
        return self.carried_out(decision)

    def carried_out(self, decision):
        """Carry out a decision, with all attempts that are due at once."""
        for _ in range(6):
            make_due()
            Connection.objects.update(read_at=None)
            if run_decision(decision_id=decision.pk) != "recorded":
                break
        decision.refresh_from_db()
        return decision

    def resolved(self, decision):
        """Let time pass, and read MultiMail three times, so that a decision in doubt is
        settled if a read can do that. Return the decision.
        """
        for _ in range(3):
            change_row(decision, due_at=Now(), changed_at=F("changed_at") - SETTLE_TIME)
            Connection.objects.update(read_at=None)
            resolve(decision_id=decision.pk)
            self.read()
        decision.refresh_from_db()
        return decision

    def page(self, client, message):
        """The text of the message's page."""
        return text_of(client.get(f"/queue/{message.public_id}/"))


def text_of(answer):
    """Return the words of a page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", answer.text))


@contextlib.contextmanager
def hosted_desk(host):
    """Serve an address for the host's webhooks, and yield the desk."""
    desk = HostedDesk(host)

    class Hook(Handler):
        def do_POST(self):  # noqa: N802
            signature = {"X-MultiMail-Signature": self.headers["X-MultiMail-Signature"]}
            desk.posted.append((self.path, self.body(), signature))
            self.reply(200)

    with serving(Hook) as origin:
        desk.origin = origin
        yield desk

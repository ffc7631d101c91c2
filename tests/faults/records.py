"""Reads the records of the desk, the gateway and the mail box with plain SQL, not with
the product's code, so that fault tests check what it really stored.
"""

import mailbox
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default as modern

import psycopg
from psycopg.rows import dict_row

from tests.desk import Product


@dataclass(frozen=True)
class Held:
    """A held message of a test: `id` is the desk's, `upstream_id` the gateway's."""

    upstream_id: str
    subject: str
    id: str
    fingerprint: str


class Records:
    """The records of one running product."""

    def __init__(self, stack):
        self.stack = stack
        self.product = Product(stack)
        self.known = self.product.known
        # The subjects of delivered mail, by file name.
        self._left = {}
        self._database = None

    def sql(self, query, *parameters):
        """Run one statement as the owner of the database, and commit it."""
        try:
            return self._run(query, parameters)
        except psycopg.OperationalError:
            # The previous session may have been killed with its server.
            self._database = None
            return self._run(query, parameters)

    def _run(self, query, parameters):
        if self._database is None:
            url = self.stack.env["DATABASE_OWNER_URL"]
            self._database = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        cursor = self._database.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def message(self, held):
        return self.sql("SELECT * FROM mirror_message WHERE public_id = %s", held.id)[0]

    def decisions(self, held):
        """The desk's decisions on a message, oldest first."""
        query = "SELECT d.* FROM approvals_decision d JOIN mirror_message m ON m.id = d.message_id"
        return self.sql(f"{query} WHERE m.public_id = %s ORDER BY d.id", held.id)

    def decision(self, held):
        """The newest decision on a message; an empty dict if there is none."""
        return (self.decisions(held) or [{}])[-1]

    def email(self, held):
        """The gateway's row of a message."""
        return self.sql("SELECT * FROM gateway_email WHERE id = %s", held.upstream_id)[
            0
        ]

    def effects(self, held):
        """The decisions on a message in the gateway's audit log, oldest first."""
        actions = ["email.approved", "email.rejected"]
        query = "SELECT * FROM gateway_auditlogentry WHERE resource_id = %s AND action = ANY(%s) ORDER BY id"
        return self.sql(query, held.upstream_id, actions)

    def entries(self, held, *actions):
        """The ledger's entries about a message with details, oldest first; all, or
        those of these actions.
        """
        query = (
            "SELECT e.*, d.fields AS details FROM audit_entry e LEFT JOIN audit_entrydetail d ON d.entry_id = e.id "
            "WHERE e.message = %s ORDER BY e.id"
        )
        return [
            entry
            for entry in self.sql(query, held.id)
            if not actions or entry["action"] in actions
        ]

    def mails(self, held):
        """How many mails with the message's subject were sent."""
        folder = mailbox.Maildir(self.known["OUTBOX_DIR"], create=False)
        for key in folder.keys():  # noqa: SIM118 - a Maildir is no dict
            if key not in self._left:
                # A mail file never changes, so each is read once.
                self._left[key] = str(
                    message_from_bytes(folder.get_bytes(key), policy=modern)["Subject"]
                )
        return list(self._left.values()).count(held.subject)

    def connection(self):
        return self.sql("SELECT * FROM mirror_connection WHERE slug = 'demo'")[0]

    def fetched(self, upstream_id):
        """The desk's id and fingerprint of a message; None until it has the content."""
        query = (
            "SELECT m.public_id, r.fingerprint FROM mirror_message m "
            "JOIN mirror_revision r ON r.id = m.revision_id WHERE m.upstream_id = %s"
        )
        return next(iter(self.sql(query, upstream_id)), None)

"""Messages in every state that a person can meet, made by changing rows, for tests and
pictures that look at pages.

They belong to an account of their own that the product's workers leave alone, and go
with it.
"""

import contextlib
import json
import uuid

import psycopg

# An account that asked to be left alone is neither read nor decided through.
SLUG = "showcase"
NEWCOMER = "nia@yourteam.example"
LONG = "a-very-long-local-part-that-never-ends-" + "x" * 20
RISKY = ["lookalike_recipient", "looks_different", "link_text_lies", "first_contact"]

_IN_A_DAY = {
    "due_at": "now() + interval '1 day'",
    "later_at": "now() + interval '1 day'",
}
# By name: what is different in the message, and the decision on it, if there is one.
_HELD = {"state": "held"}
_STATES = {
    "held": (_HELD, None),
    "reported": ({**_HELD, "reported": "approved"}, None),
    "expiring": ({**_HELD, "expires_at": "now() + interval '9 minutes'"}, None),
    "test message": ({**_HELD, "sandbox": True}, None),
    "fetching": (
        {
            **_HELD,
            "hydrated_at": None,
            "revision_id": None,
            "subject": "",
            "recipients": [],
        },
        None,
    ),
    "unreadable": (
        {**_HELD, "hydrated_at": None, "revision_id": None, "fetch_tries": 3},
        None,
    ),
    "for later": (
        _HELD,
        {"state": "recorded", "attempt": 0, "later_zone": "Europe/Berlin", **_IN_A_DAY},
    ),
    "leaving": (_HELD, {"state": "recorded", "due_at": "now() + interval '1 hour'"}),
    "calling": (
        _HELD,
        {
            "state": "calling",
            "lease_until": "now() + interval '1 hour'",
            "may_have_left": True,
        },
    ),
    "unknown": (
        _HELD,
        {
            "state": "unknown",
            "may_have_left": True,
            "explanation": "MultiMail did not answer in time.",
        },
    ),
    "confirm": (_HELD, {"state": "unknown", "may_have_left": True, "seen_held": 2}),
    "unattributed": (
        {"state": "gone"},
        {"state": "unattributed", "may_have_left": True, "seen_absent": 2},
    ),
    "withdrawn": (
        _HELD,
        {
            "state": "withdrawn",
            "may_have_left": True,
            "explanation": "Ben Okafor withdrew it.",
        },
    ),
    "refused": (
        _HELD,
        {"state": "refused", "explanation": "The content changed after the decision."},
    ),
    "undone": (_HELD, {"state": "undone"}),
    "sent back": (
        {"state": "rejected"},
        {"state": "applied", "outcome": "send_back", "reason": "Say 30 November"},
    ),
    "rejected": (
        {"state": "rejected"},
        {"state": "applied", "outcome": "reject", "reason": "Wrong amount"},
    ),
    "expired": (
        {"state": "rejected", "expires_at": "now() - interval '1 hour'"},
        {
            "state": "applied",
            "outcome": "reject",
            "rule": "expiry",
            "given_by_id": None,
            "reason": "Expired.",
        },
    ),
    "delivered": ({"state": "delivered"}, {"state": "applied"}),
    "bounced": ({"state": "bounced"}, {"state": "applied"}),
    "failed": ({"state": "failed"}, {"state": "applied"}),
    "cancelled": ({"state": "cancelled"}, None),
    "gone": ({"state": "gone"}, None),
}
STATES = tuple(_STATES)


class Showcase:
    """The rows, by the names of STATES; `pages` are the addresses of their pages."""

    def __init__(self, database, *, like):
        self.database = database
        (model,) = self._one(
            "SELECT id FROM mirror_message WHERE upstream_id = %s", like
        )
        (account,) = self._one(
            "SELECT connection_id FROM mirror_message WHERE id = %s", model
        )
        fresh = {
            "complete_as_of": "now()",
            "wait_until": "now() + interval '2 hours'",
            "last_error": "",
        }
        self.connection = self._copy(
            "mirror_connection",
            account,
            slug=SLUG,
            name="Showcase",
            webhook_id=uuid.uuid4().hex,
            **fresh,
        )
        (mailbox,) = self._one(
            "SELECT mailbox_id FROM mirror_message WHERE id = %s", model
        )
        own = {"connection_id": self.connection}
        self.mailbox = self._copy(
            "mirror_mailbox",
            mailbox,
            upstream_id="SHOWCASE",
            address="showcase@yourteam.example",
            **own,
        )
        self.empty = self._copy(
            "mirror_mailbox",
            mailbox,
            upstream_id="EMPTY",
            address="empty@yourteam.example",
            **own,
        )
        self.model = model
        self.pages = {name: self._make(name, *_STATES[name]) for name in STATES}
        self.pages["crowded"] = self._crowded()
        self.pages["broken"] = self._broken()

    def make_newcomer(self, like):
        """Make somebody who sees an empty mailbox only, with the password of the person
        of this address.
        """
        (person,) = self._one("SELECT id FROM people_person WHERE email = %s", like)
        made = self._copy("people_person", person, email=NEWCOMER, name="Nia Okoye")
        self.database.execute(
            "INSERT INTO people_grant (person_id, role, mailbox_id) VALUES (%s, 'reviewer', %s)",
            [made, self.empty],
        )
        return NEWCOMER

    def refresh(self, *, minutes_ago=0, error=""):
        """Let the account have been read whole so many minutes ago."""
        self.database.execute(
            "UPDATE mirror_connection SET complete_as_of = now() - %s * interval '1 minute', last_error = %s,"
            " failing_since = CASE WHEN %s = '' THEN NULL ELSE now() - interval '20 minutes' END WHERE id = %s",
            [minutes_ago, error, error, self.connection],
        )

    def close(self):
        """Take everything away again; what the ledger says of it stays.

        The desk goes on meanwhile: where its workers carry out what is due, this begins
        again.
        """
        for tries_left in reversed(range(20)):
            try:
                with self.database.transaction():
                    self._remove()
                break
            except (
                psycopg.errors.ForeignKeyViolation,
                psycopg.errors.DeadlockDetected,
            ):
                if not tries_left:
                    raise

    def _remove(self):
        mine = "(SELECT id FROM mirror_message WHERE connection_id = %(connection)s)"
        values = {"connection": self.connection, "email": NEWCOMER}
        # It may plan a card for what is about to go.
        self.database.execute(
            "LOCK TABLE alerts_card, alerts_delivery IN SHARE ROW EXCLUSIVE MODE"
        )
        self.database.execute(
            "UPDATE mirror_message SET revision_id = NULL WHERE connection_id = %(connection)s",
            values,
        )
        cards = f"(SELECT id FROM alerts_card WHERE message_id IN {mine})"
        self.database.execute(
            f"DELETE FROM alerts_delivery WHERE card_id IN {cards}", values
        )
        self.database.execute(
            f"DELETE FROM alerts_card WHERE message_id IN {mine}", values
        )
        decisions = f"(SELECT id FROM approvals_decision WHERE message_id IN {mine})"
        self.database.execute(
            f"DELETE FROM approvals_decisionattempt WHERE decision_id IN {decisions}",
            values,
        )
        for table in self._tables_about("mirror_message"):
            self.database.execute(
                f"DELETE FROM {table} WHERE message_id IN {mine}", values
            )
        self.database.execute(
            "DELETE FROM mirror_message WHERE connection_id = %(connection)s", values
        )
        self.database.execute(
            "DELETE FROM people_grant WHERE person_id = (SELECT id FROM people_person WHERE email = %(email)s)",
            values,
        )
        self.database.execute(
            "UPDATE people_person SET is_active = false, email = 'gone-' || id || '@x.example' WHERE email = %(email)s",
            values,
        )
        threads = (
            "(SELECT id FROM mirror_thread WHERE mailbox_id IN"
            " (SELECT id FROM mirror_mailbox WHERE connection_id = %(connection)s))"
        )
        self.database.execute(
            f"DELETE FROM mirror_threadmessage WHERE thread_id IN {threads}", values
        )
        self.database.execute(
            f"DELETE FROM mirror_thread WHERE id IN {threads}", values
        )
        self.database.execute(
            "DELETE FROM mirror_mailbox WHERE connection_id = %(connection)s", values
        )
        self.database.execute(
            "DELETE FROM mirror_connection WHERE id = %(connection)s", values
        )

    def _tables_about(self, table):
        """Every table with a message_id that points there, those first that others of
        them do not point to.
        """
        found = self.database.execute(
            "SELECT conrelid::regclass::text FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid"
            " AND a.attnum = c.conkey[1] WHERE c.contype = 'f' AND c.confrelid = %s::regclass "
            " AND a.attname = 'message_id'",
            [table],
        ).fetchall()
        last = ["approvals_decision", "mirror_revision"]
        names = [name for (name,) in found]
        return [name for name in names if name not in last] + [
            name for name in last if name in names
        ]

    def _make(self, name, message, decision):
        subject = message.get("subject", f"Showcase: {name}")
        made, public_id = self._message(**{**message, "subject": subject})
        if decision is not None:
            self._decide(made, **decision)
        return f"/queue/{public_id}/"

    def _message(self, **changes):
        public_id = str(uuid.uuid4())
        values = {
            "shape": uuid.uuid4().hex,
            "held_at": "now() - interval '3 hours'",
            "changed_at": "now()",
            **changes,
        }
        made = self._copy(
            "mirror_message", self.model, public_id=public_id, upstream_id=f"SHOWCASE-{public_id}",
            connection_id=self.connection, mailbox_id=self.mailbox, **values,
        )  # fmt: skip
        if "revision_id" not in changes:
            self._revise(made)
        return made, public_id

    def _revise(self, message, **changes):
        (revision,) = self._one(
            "SELECT revision_id FROM mirror_message WHERE id = %s", self.model
        )
        made = self._copy("mirror_revision", revision, message_id=message, **changes)
        self.database.execute(
            "UPDATE mirror_message SET revision_id = %s WHERE id = %s", [made, message]
        )

    def _decide(self, message, **changes):
        values = {
            "outcome": "approve", "reason": "", "rule": "", "due_at": "now() + interval '1 hour'", "attempt": 1,
            "may_have_left": False, "seen_held": 0, "seen_absent": 0, "upstream_answer": "{}", "explanation": "",
            "reference": uuid.uuid4().hex[:10].upper(),
            "given_by_id": "(SELECT id FROM people_person WHERE email = 'ben@yourteam.example')",
            "revision_id": f"(SELECT coalesce(revision_id, (SELECT revision_id FROM mirror_message WHERE id ="
            f" {self.model})) FROM mirror_message WHERE id = {message})",
            **changes,
        }  # fmt: skip
        expressions, parameters = _spelled({**values, "message_id": message})
        self.database.execute(
            f"INSERT INTO approvals_decision ({', '.join(expressions)})"
            f" VALUES ({', '.join(expressions.values())})",
            parameters,
        )

    def _broken(self):
        """A message whose page cannot be made, as after a mistake of ours; no list of
        what waits leads to it.
        """
        made, public_id = self._message(
            subject="Showcase: broken",
            state="cancelled",
            thread_id="",
            revision_id=None,
        )
        self._revise(made, content=json.dumps([]))
        return f"/queue/{public_id}/"

    def _crowded(self):
        """A letter with much to say: long addresses, long words, many findings, many of
        everything.
        """
        people = [
            f"{LONG}{number}@{'sub.' * 12}customer.example" for number in range(30)
        ]
        (content,) = self._one(
            "SELECT content FROM mirror_revision WHERE id = (SELECT revision_id FROM mirror_message WHERE id = %s)",
            self.model,
        )
        made, public_id = self._message(
            subject="Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 4,
            state="held", outside=30,
            recipients=people, trigger={"discord_user": "u" * 200, "discord_channel": "c" * 120, "run_id": "r" * 150},
            started_by="discord:" + "u" * 150, try_number=3, expires_at="now() + interval '58 minutes'",
            revision_id=None,
        )  # fmt: skip
        whole = {
            **content,
            "to": people,
            "cc": people[:5],
            "bcc": people[5:8],
            "markdown": "W" * 900 + "\n\n" + "word " * 400,
        }
        seen = [
            {"rule": rule, "version": 1, "level": level, "points": 50, "sentence": f"A long sentence: {'z' * 90}",
             "detail": "d" * 120, "evidence": [people[0], "cust0mer.example"], "anchor": "#addresses"}
            for rule, level in zip(RISKY, ("high", "high", "high", "notice"), strict=True)
        ]  # fmt: skip
        self._revise(
            made, number=7, content=json.dumps(whole), findings=json.dumps(seen)
        )
        self.database.execute(
            "UPDATE approvals_review SET risk = 260, risk_level = 'high', rules = %s WHERE message_id = %s",
            [list(RISKY), made],
        )
        return f"/queue/{public_id}/"

    def _copy(self, table, key, **changes):
        """Copy a row, but for these columns; a text of ours with brackets or a cast is
        an expression.
        """
        columns = [
            name
            for (name,) in self.database.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND column_name <> 'id'"
                " AND table_schema = current_schema() AND is_generated = 'NEVER'",
                [table],
            ).fetchall()
        ]
        expressions, parameters = _spelled(changes)
        values = ", ".join(expressions.get(name, name) for name in columns)
        ordered = {
            name: parameters[f"v_{name}"]
            for name in columns
            if f"v_{name}" in parameters
        }
        row = self.database.execute(
            f"INSERT INTO {table} ({', '.join(columns)})"
            f" SELECT {values} FROM {table} WHERE id = %(key)s RETURNING id",
            {"key": key, **{f"v_{name}": value for name, value in ordered.items()}},
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _one(self, query, *values):
        row = self.database.execute(query, list(values)).fetchone()
        assert row is not None, query
        return tuple(row)


def _spelled(values):
    """Return what stands for each column, and the parameters that are meant."""
    expressions = {}
    parameters = {}
    for name, value in values.items():
        if isinstance(value, str) and value.startswith(("now()", "(SELECT")):
            expressions[name] = value
        else:
            expressions[name] = f"%(v_{name})s"
            parameters[f"v_{name}"] = (
                json.dumps(value) if isinstance(value, dict | list) else value
            )
    return expressions, parameters


@contextlib.contextmanager
def showcase(url, *, like):
    """Give the block the messages, made like the one of this id at MultiMail."""
    with psycopg.connect(url, autocommit=True) as database:
        made = Showcase(database, like=like)
        try:
            yield made
        finally:
            made.close()

"""Fills the product with an active policy, a draft, groups, review plans, pending
changes and a flood, for the screenshots of their pages (tests/pictures.py).

Most rows are written directly into the database. Nothing is removed afterwards, because
the product is used only for screenshots.
"""

import json

# Pending changes: command, title, before, after, reason.
_CHANGES = (
    (
        "loosen",
        "outreach@yourteam.example: Oversight mode",
        "Oversight mode: Hold outgoing mail (gated_send)",
        "Oversight mode: Monitored (monitored)",
        "The newsletter agent made no mistake in three months.",
    ),
    (
        "role",
        "Ana Ferreira: role admin of support@yourteam.example",
        "Reviewer",
        "Reviewer, admin of support@yourteam.example",
        "She sets the review plan of her mailbox.",
    ),
)
# The cap of messages in an hour, and how many are sent. Those past the cap are set
# apart.
_CAP = 3
_FLOOD = 8


def make_policy(product, reader):
    """Make all of it. Return the addresses of a message with one of two approvals, and
    of the flood, for the braces in addresses.
    """
    group = _group(product)
    calendar = _calendar(product)
    _versions(product, group, calendar)
    row = product.hold(
        reader,
        "Quote for EUR 4,800",
        body="Hello Dana,\n\nthe quote is EUR 4,800.00 for the year.",
    )
    product.reviewer("REVIEWER2").decide(row["id"], "approve", row["fingerprint"])
    _plan(product, calendar)
    _changes(product)
    return {
        "two": f"/queue/{row['id']}/",
        "flood": f"/queue/apart/{_flood(product)}/",
    }


def _one(product, query, *values):
    return int(product.sql(query, *values)[0][0])


def _person(product, prefix):
    return _one(
        product,
        "SELECT id FROM people_person WHERE email = %s",
        product.known[f"{prefix}_EMAIL"],
    )


def _group(product):
    """Make a group of three, and return its key."""
    group = _one(
        product, "INSERT INTO policy_group (name) VALUES ('Finance') RETURNING id"
    )
    for prefix in ("REVIEWER", "REVIEWER2", "ADMIN"):
        product.sql(
            "INSERT INTO policy_group_members (group_id, person_id) VALUES (%s, %s)",
            *(group, _person(product, prefix)),
        )
    return group


def _rules(group, calendar, *, amount):
    """Return a version's rules. Amounts from `amount` need two approvals."""
    return [
        {
            "id": "risk",
            "name": "High risk needs a second look",
            "when": {"high_risk": True},
            "then": {"approvals": {"0": 2}, "care": True},
        },
        {
            "id": "money",
            "name": "Large amounts",
            "note": "Agreed with the owner in March.",
            "when": {"amount": amount, "currency": "EUR"},
            "then": {"approvals": {str(group): 2}, "bar_editor": True},
        },
        {
            "id": "hours",
            "name": "Newsletters leave in office hours",
            "when": {"recipients_from": 10, "first_contact": True},
            "then": {"office_hours": [calendar]},
        },
        {
            "id": "minimum",
            "name": "All mail is seen",
            "then": {"least_mode": "gated_all"},
        },
    ]


def _versions(product, group, calendar):
    """Store an active version of the policy and a draft."""
    active = _rules(group, calendar, amount="1000")
    versions = (
        (1, "active", active, "What the auditors asked for in March", "1 day"),
        (2, "draft", _rules(group, calendar, amount="500"), "", None),
    )
    author = _person(product, "ADMIN")
    for number, state, rules, note, activated in versions:
        product.sql(
            "INSERT INTO policy_policyversion (number, state, rules, passes, signatures, note, based_on, edits,"
            " author_id, activated_by_id, activated_at)"
            " VALUES (%s, %s, %s::jsonb, '[]', '{}', %s, %s, 0, %s, %s, now() - %s::interval)",
            *(number, state, json.dumps(rules), note, number - 1, author),
            *(author if activated else None, activated),
        )


def _calendar(product):
    """Make a calendar, and return its key."""
    holidays = {"2026-12-25": "Christmas Day", "2027-01-01": "New Year's Day"}
    week = [[[0, 1440]]] * 7
    return _one(
        product,
        "INSERT INTO policy_workcalendar (name, zone, weekly, holidays) VALUES ('Lisbon office', 'Europe/Lisbon',"
        " %s::jsonb, %s::jsonb) RETURNING id",
        *(json.dumps(week), json.dumps(holidays)),
    )


def _plan(product, calendar):
    """Make a review plan for all mailboxes with a ladder, people on duty, and messages
    that are late.
    """
    plan = _one(
        product,
        "INSERT INTO policy_reviewplan (calendar_id, targets, assigns_in_turn)"
        " VALUES (%s, %s::jsonb, false) RETURNING id",
        *(calendar, json.dumps({"high": [15, 60], "": [30, 90]})),
    )
    ladder = (
        (-30, "remind", "holder"),
        (0, "assign", "duty"),
        (60, "remind", "destinations"),
    )
    for minutes, act, whom in ladder:
        product.sql(
            "INSERT INTO policy_ladderstep (plan_id, basis, minutes, act, whom) VALUES (%s, 'decision', %s, %s, %s)",
            *(plan, minutes, act, whom),
        )
    for prefix in ("REVIEWER", "REVIEWER2"):
        product.sql(
            "INSERT INTO policy_dutyturn (person_id, calendar_id) VALUES (%s, %s)",
            *(_person(product, prefix), calendar),
        )
    product.sql(
        "UPDATE mirror_message SET held_at = now() - interval '2 hours' WHERE id IN (SELECT id FROM"
        " mirror_message WHERE state = 'held' ORDER BY id LIMIT 3)"
    )
    product.sql("UPDATE approvals_review SET watch_at = now() WHERE is_held")
    late = "SELECT 1 FROM approvals_review WHERE late_since IS NOT NULL"
    product.wait_for(lambda: product.sql(late), timeout=60, what="messages to be late")


def _changes(product):
    """Require a second admin, and store pending changes of two admins."""
    admin = _person(product, "ADMIN")
    other = _person(product, "REVIEWER2")
    product.sql(
        "INSERT INTO people_grant (person_id, role) VALUES (%s, 'admin')", other
    )
    product.sql(
        "INSERT INTO people_organisationsettings (id, second_admin_since, second_admin_set_by_id)"
        " VALUES (1, now(), %s) ON CONFLICT (id) DO UPDATE SET second_admin_since = now()",
        admin,
    )
    for asker, (kind, title, before, after, reason) in zip(
        (other, admin), _CHANGES, strict=True
    ):
        product.sql(
            "INSERT INTO people_pendingchange (command, title, before, after, url, change, asked_by_id, reason,"
            " expires_at, state, outcome) VALUES (%s, %s, %s, %s, '/people/', '{}', %s, %s,"
            " now() + interval '7 days', 'waiting', '')",
            *(kind, title, before, after, asker, reason),
        )


def _flood(product):
    """Send more messages than the cap allows. Return the id of the flood."""
    product.sql("UPDATE approvals_cap SET an_hour = %s WHERE kind = 'key'", _CAP)
    for number in range(_FLOOD):
        product.send(f"Your seat for the workshop, reminder {number + 1}")
    apart = "SELECT id FROM approvals_brake"
    found = product.wait_for(lambda: product.sql(apart), timeout=60, what="the flood")
    return int(found[0][0])

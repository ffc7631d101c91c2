"""Hundreds of messages under load while things break, and a ledger of equal sums from
outside records at the end.
"""

import os
import random
import time
from collections import Counter
from functools import partial

import psycopg
import pytest

from common.references import references_in
from tests.faults.desk_rig import desk_rig
from tests.faults.soak_load import (
    Chaos,
    Diary,
    Reviewer,
    decide_elsewhere,
    in_threads,
    send,
)

MESSAGES = int(os.environ.get("SOAK_MESSAGES", "200"))
OPEN = ("recorded", "calling", "unknown", "unattributed", "withdrawn")
# How long the last fault may take to be got over by the product itself and the people
# who are asked; and all before.
RECOVERY = 600
LOAD = 1200

pytestmark = pytest.mark.soak


@pytest.fixture
def rig(tmp_path_factory):
    with desk_rig(tmp_path_factory) as rig:
        # Nothing is done for it here: it reads by itself, and leaves time to undo.
        rig.sql(
            "DELETE FROM dashboard_tick WHERE job = 'approvals.tasks.reconcile_all'"
        )
        rig.product.set_undo_window("2 seconds")
        yield rig


def test_soak_ends_with_equal_sums(rig):
    diary = Diary(int(os.environ.get("SOAK_SEED", random.randrange(10**6))))
    print(f"soak of {MESSAGES} messages with SOAK_SEED={diary.seed}")
    # Everybody signs in before things break.
    ana = Reviewer(rig, diary, "REVIEWER", 9)
    reviewers = [
        Reviewer(rig, diary, prefix, n)
        for n in range(2)
        for prefix in ("REVIEWER", "REVIEWER2")
    ]
    began = time.monotonic()
    load(rig, diary, reviewers, ana)
    loaded = time.monotonic()
    recover(rig, ana)
    ended = time.monotonic()
    sums = add_up(rig, diary)
    print(f"load {loaded - began:.0f} s, recovery {ended - loaded:.0f} s")
    print(table(diary, sums))
    check(diary, sums)


def load(rig, diary, reviewers, ana):
    """Send and decide everything while things break."""
    numbers = list(range(MESSAGES))
    over = False
    senders = in_threads(*[partial(send, rig, diary, numbers) for _ in range(3)])
    others = in_threads(
        *[partial(reviewer.work, lambda: over) for reviewer in reviewers],
        partial(Chaos(rig, diary).work, lambda: over),
    )
    [sender.join() for sender in senders]
    for upstream_id, number in list(diary.sent.items()):
        if diary.plan(number) == "elsewhere":
            decide_elsewhere(rig, diary, upstream_id, number)
    rig.wait(
        lambda: everything_was_decided(rig, diary) or tidy(ana),
        "everything to be decided",
        LOAD,
    )
    over = True
    [other.join() for other in others]


def everything_was_decided(rig, diary):
    """By the desk's own rows: who gave a verdict may never have got the answer."""
    planned = {
        key
        for key, number in diary.sent.items()
        if diary.plan(number) not in ("leave", "elsewhere")
    }
    query = "SELECT m.upstream_id FROM mirror_message m JOIN approvals_decision d ON d.message_id = m.id"
    try:
        return planned <= {row["upstream_id"] for row in rig.sql(query)}
    except psycopg.OperationalError:
        return False


def tidy(reviewer):
    """What somebody does about doubt meanwhile."""
    time.sleep(1)
    try:
        reviewer.withdraw_some()
    except (OSError, ValueError, KeyError):
        return False
    return False


def recover(rig, ana):
    """Nothing breaks any more. The product gets over it, and people do what they are
    asked for.
    """

    def is_over():
        ana.look_after_doubt()
        ana.work_through_page()
        left = unfinished(rig)
        assert not left, str(left)
        return True

    rig.wait(is_over, "everything to end", RECOVERY)


def unfinished(rig):
    """What is not over yet, in the desk, at the gateway, or between them."""
    queries = {
        "decisions": "SELECT count(*) AS n FROM approvals_decision WHERE state = ANY(%s)",
        "mirror": (
            "SELECT count(*) AS n FROM gateway_email e LEFT JOIN mirror_message m ON m.upstream_id = e.id "
            "WHERE e.subject LIKE 'Soak %%' AND %s::text[] IS NOT NULL AND CASE e.status "
            "WHEN 'pending_send_approval' THEN m.state IS DISTINCT FROM 'held' "
            "WHEN 'rejected' THEN m.state IS DISTINCT FROM 'rejected' "
            "ELSE coalesce(m.state NOT IN ('approved', 'scheduled_approved', 'sent', 'delivered'), true) END"
        ),
        "leaving": "SELECT count(*) AS n FROM gateway_email WHERE status = 'scheduled' AND %s::text[] IS NOT NULL",
    }
    counted = {
        name: rig.sql(query, list(OPEN))[0]["n"] for name, query in queries.items()
    }
    return {name: count for name, count in counted.items() if count}


def add_up(rig, diary):
    """Count what each record says, none of them from what the desk says of itself
    alone.
    """
    sent = list(diary.sent)
    emails = {
        row["id"]: row
        for row in rig.sql(
            "SELECT id, status, decision FROM gateway_email WHERE id = ANY(%s)", sent
        )
    }
    subjects = Counter(mail["Subject"] for mail in rig.product.all_mails())
    mails = {key: subjects[diary.subject(number)] for key, number in diary.sent.items()}
    decisions = rig.sql(
        "SELECT d.outcome, d.state, d.reference, m.upstream_id FROM approvals_decision d "
        "JOIN mirror_message m ON m.id = d.message_id WHERE m.upstream_id = ANY(%s)",
        sent,
    )
    applied = [one for one in decisions if one["state"] == "applied"]
    effects = rig.sql(
        "SELECT resource_id, action, metadata FROM gateway_auditlogentry WHERE resource_id = ANY(%s) "
        "AND action IN ('email.approved', 'email.rejected')",
        sent,
    )
    return {
        "emails": emails, "mails": mails, "decisions": decisions, "effects": effects,
        "sent": len(sent),
        "held": sum(row["status"] == "pending_send_approval" for row in emails.values()),
        "left": sum(count > 0 for count in mails.values()),
        "rejected": sum(row["status"] == "rejected" for row in emails.values()),
        "approved here": sum(one["outcome"] == "approve" for one in applied),
        "rejected here": sum(one["outcome"] != "approve" for one in applied),
        "approved elsewhere": sum(
            effect["action"] == "email.approved" and not references_in(effect["metadata"]["reason"])
            for effect in effects
        ),
        "rejected elsewhere": sum(
            effect["action"] == "email.rejected" and not references_in(effect["metadata"]["reason"])
            for effect in effects
        ),
    }  # fmt: skip


def table(diary, sums):
    """The ledger as people read it."""
    states = Counter(f"{one['outcome']} {one['state']}" for one in sums["decisions"])
    lines = [
        f"{name:<20} {sums[name]:>6}" for name in sums if isinstance(sums[name], int)
    ]
    for title, counted in (
        ("decisions", states),
        ("answers", diary.answers),
        ("faults", diary.faults),
    ):
        lines += [
            f"{title}:",
            *(f"  {name:<34} {count:>5}" for name, count in sorted(counted.items())),
        ]
    return "\n".join(lines)


def check(diary, sums):
    """Every sum is equal, and nothing is unexplained."""
    emails = sums["emails"]
    mails = sums["mails"]
    assert sums["sent"] == MESSAGES == len(emails)
    assert sums["sent"] == sums["held"] + sums["left"] + sums["rejected"]
    assert sums["left"] == sums["approved here"] + sums["approved elsewhere"]
    assert sums["rejected"] == sums["rejected here"] + sums["rejected elsewhere"]
    assert max(mails.values()) == 1, "a mail left more than once"
    assert (
        max(Counter(effect["resource_id"] for effect in sums["effects"]).values()) == 1
    )
    assert {key for key, count in mails.items() if count} == {
        key for key, row in emails.items() if row["decision"] == "approved"
    }
    references = {one["reference"]: one for one in sums["decisions"]}
    for effect in sums["effects"]:
        if ours := references_in(effect["metadata"]["reason"]):
            decision = references[ours[-1]]
            assert decision["state"] == "applied", (
                f"{effect['resource_id']} was decided and is shown as {decision}"
            )
            assert decision["upstream_id"] == effect["resource_id"]
        else:
            assert effect["resource_id"] in diary.elsewhere, (
                f"nobody decided {effect['resource_id']}"
            )
    recorded = {one["upstream_id"] for one in sums["decisions"]}
    assert set(diary.accepted) <= recorded, (
        "a verdict was answered as taken and is not there"
    )
    for key in diary.undone:
        assert not mails[key], "a mail left that was undone"
        assert emails[key]["status"] == "pending_send_approval"

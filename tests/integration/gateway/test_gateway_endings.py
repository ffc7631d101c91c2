"""How a review ended: what a client may say of it, and what is shown."""

from importlib import import_module

from django.db import connection as database

from gateway.models import Email
from tests.factories import change_row

NOBODY = {"decided_by": None, "ended_by": "expiry"}


def named(answer):
    return {name: answer[name] for name in NOBODY}


def test_other_ends_keep_their_name_and_a_client_that_says_nothing_is_elsewhere(
    world,
):
    for number, (sent, expected) in enumerate(
        (
            ({"ended_by": "person", "decided_by": "Ana"}, ("Ana", "person")),
            ({"ended_by": "rule", "decided_by": "A rule"}, ("A rule", "rule")),
            ({"ended_by": "expiry", "decided_by": "Ana"}, (None, "expiry")),
            ({"decided_by": "Ana"}, ("Ana", "elsewhere")),
            ({}, ("Desk", "elsewhere")),
        )
    ):
        email_id = world.held(subject=f"Letter {number}")
        shown = world.get(f"{world.base}/emails/{email_id}")
        assert named(shown) == {"decided_by": None, "ended_by": None}, "still held"
        for action, wrong in (("reject", "somebody"), ("approve", "expiry")):
            refused = world.decide(email_id, action, ended_by=wrong)
            assert refused.status_code == 422
            assert refused.json()["field"] == "ended_by"
        answer = world.decide(email_id, "reject", **sent).json()
        read = world.get(f"{world.base}/emails/{email_id}")
        assert tuple(named(answer).values()) == tuple(named(read).values()), sent
        assert read["ended_by"] == expected[1]
        if sent:
            assert read["decided_by"] == expected[0]


def test_upgrade_knows_what_had_expired_only_where_it_is_certain(world):
    migration = import_module("gateway.migrations.0003_email_ended_by")
    mark = "(A rule via Countersign, reference 7K)"
    expired = f"Expired: it was not approved before 2026-11-30 20:00 UTC. {mark}"
    kept = []
    for number, (who, reason) in enumerate(
        (
            ("A rule via Countersign", expired),
            ("A rule via Countersign", f"Expired: say when. {mark}"),
            ("Kim", expired),
        )
    ):
        email_id = world.held(subject=f"Letter {number}")
        world.decide(email_id, "reject", reason=reason, decided_by=who)
        email = Email.objects.get(pk=email_id)
        # As version 1.0.0 stored it.
        change_row(email, ended_by="")
        kept.append(email_id)
    with database.cursor() as cursor:
        cursor.execute(migration.FIND_EXPIRED)
    found = [Email.objects.get(pk=key).outcome() for key in kept]
    nobody = {"decided_by": None, "ended_by": None}
    assert [named(one) for one in found] == [
        NOBODY,
        nobody | {"decided_by": "A rule via Countersign"},
        nobody | {"decided_by": "Kim"},
    ]


def test_rows_of_tools_say_whose_act_ended_the_review(world):
    # It finds the paths of its tools among the addresses, which `world` sets.
    from gateway.mcp.server import _split

    row = {"id": "01A", "status": "rejected", "ended_by": "expiry", "decided_by": None}
    ours, _ = _split({"emails": [row]})
    assert ours["emails"] == [{"id": "01A", "status": "rejected", "ended_by": "expiry"}]

"""A mailbox is loosened by a one-time code that a person passes on, and by nothing else."""

import logging
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from gateway.codes import new_code
from gateway.models import AuditLogEntry, Mailbox, UpgradeRequest
from gateway.modes import Mode
from tests.integration.gateway.test_gateway_races import at_once
from tests.integration.gateway.world import World, add_key, make_world


def ask(world: World, target: str = "monitored", key: str = "agent") -> Any:
    return world.call("POST", f"{world.base}/request-upgrade", key=key, json={"target_mode": target})


def use(world: World, code: str, key: str = "agent") -> Any:
    return world.call("POST", f"{world.base}/upgrade", key=key, json={"code": code})


def code_of(world: World) -> str:
    return str(world.call("GET", "/v1/upgrade-requests", key="admin").json()["requests"][0]["code"])


def mode_of(world: World) -> str:
    return Mailbox.objects.get(pk=world.mailbox.pk).oversight_mode


def test_codes_have_the_form_that_people_expect():
    codes = {new_code() for _ in range(50)}
    assert len(codes) == 50
    for code in codes:
        left, right = code.split("-")
        assert len(left) == len(right) == 3
        assert code.upper() == code
        assert not set(code) & set("01OIL")


@pytest.mark.parametrize("key", ["agent", "admin"])
def test_code_upgrades_once(world: World, key: str):
    asked = ask(world, key=key)
    assert (asked.status_code, asked.json()["status"]) == (200, "upgrade_requested")
    code = code_of(world)
    upgraded = use(world, code, key=key)
    assert (upgraded.status_code, upgraded.json()["status"]) == (200, "upgraded")
    assert upgraded.json()["oversight_mode"] == mode_of(world) == "monitored"
    assert (use(world, code).status_code, use(world, code).json()["code"]) == (404, "no_pending_upgrade")
    noted = AuditLogEntry.objects.filter(resource_type="mailbox").order_by("id")
    assert [entry.action for entry in noted] == ["mailbox.upgrade_requested", "mailbox.upgraded"]
    assert noted[1].metadata["was"] == "gated_send"


@pytest.mark.parametrize(
    "spelt", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:3]} {code[4:]} "]
)
def test_dashes_blanks_and_case_do_not_matter(world: World, spelt: Any):
    ask(world)
    assert use(world, spelt(code_of(world))).status_code == 200


def test_wrong_codes_are_refused_and_after_five_the_right_one_too(world: World):
    ask(world)
    code = code_of(world)
    answers = [use(world, wrong) for wrong in ("AAA-AAA", "", "ä", code + "2", "-")]
    assert [answer.status_code for answer in answers] == [403, 422, 403, 403, 403]
    assert use(world, "BBB-BBB").json()["code"] == "wrong_code"
    assert (use(world, code).status_code, mode_of(world)) == (404, "gated_send")
    assert world.call("GET", "/v1/upgrade-requests", key="admin").json() == {"requests": []}


def test_nothing_pending_is_not_found(world: World):
    assert use(world, "A7X-29K").status_code == 404


def test_code_ends_after_a_day(world: World):
    asked = ask(world).json()
    code, row = code_of(world), UpgradeRequest.objects.get()
    assert asked["expires_at"] > asked["created_at"]
    assert timedelta(hours=23) < row.expires_at - row.created_at < timedelta(hours=25)
    UpgradeRequest.objects.update(expires_at=timezone.now())
    assert use(world, code).status_code == 404


@pytest.mark.parametrize(("target", "code"), [("gated_send", "same_mode"), ("gated_all", "stricter_mode")])
def test_mode_that_is_not_looser_needs_no_code(world: World, target: str, code: str):
    answer = ask(world, target)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("body", [{}, {"target_mode": "wild"}, {"target_mode": None}])
def test_unknown_mode_is_refused(world: World, body: dict[str, Any]):
    assert world.call("POST", f"{world.base}/request-upgrade", json=body).status_code == 422


def test_fourth_request_within_an_hour_is_too_many(world: World):
    assert [ask(world).status_code for _ in range(3)] == [200, 200, 200]
    refused = ask(world)
    assert refused.status_code == 429
    assert 3500 < int(refused["Retry-After"]) <= 3600
    assert "quota" not in refused.content.decode()
    UpgradeRequest.objects.filter(pk=UpgradeRequest.objects.order_by("id")[0].pk).update(
        created_at=timezone.now() - timedelta(minutes=61)
    )
    assert ask(world).status_code == 200


def test_newer_request_ends_the_older_code(world: World):
    ask(world)
    old = code_of(world)
    ask(world, "autonomous")
    assert use(world, old).status_code == 403
    assert use(world, code_of(world)).json()["oversight_mode"] == "autonomous"


def test_tightening_ends_an_open_request(world: World):
    ask(world)
    code = code_of(world)
    world.call("PATCH", world.base, key="admin", json={"oversight_mode": "read_only"})
    assert (use(world, code).status_code, mode_of(world)) == (404, "read_only")


def test_code_is_of_one_mailbox(world: World, other: World):
    ask(world)
    assert use(other, code_of(world)).status_code == 404
    assert other.call("GET", "/v1/upgrade-requests", key="admin").json() == {"requests": []}


@pytest.mark.parametrize("key", ["desk", "reader", "watcher"])
def test_other_scopes_neither_ask_nor_upgrade(world: World, key: str):
    assert [ask(world, key=key).status_code, use(world, "A7X-29K", key=key).status_code] == [403, 403]


@pytest.mark.parametrize("key", ["agent", "desk", "reader"])
def test_only_admins_see_codes(world: World, key: str):
    assert world.call("GET", "/v1/upgrade-requests", key=key).status_code == 403


def test_key_that_sends_does_not_see_codes_although_it_administers(world: World):
    add_key(world, "both", ["send", "admin"])
    ask(world, key="both")
    (row,) = world.call("GET", "/v1/upgrade-requests", key="both").json()["requests"]
    assert (row["target_mode"], row["code"]) == ("monitored", None)
    assert use(world, code_of(world), key="both").status_code == 200


def test_code_is_neither_told_to_who_asks_nor_logged_nor_audited(world: World, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        asked = ask(world)
        code = UpgradeRequest.objects.get().code
        wrong = use(world, "AAA-AAA")
        done = use(world, code)
    said = "".join(str(vars(record)) for record in caplog.records)
    audited = str(list(AuditLogEntry.objects.values()))
    told = "".join(answer.content.decode() for answer in (asked, wrong, done))
    for text in (said, audited, told):
        assert code not in text
        assert code.replace("-", "") not in text
    assert code not in str(list(UpgradeRequest.objects.extra(select={"raw": "code::text"}).values("raw")))


def test_operator_sees_open_codes(world: World):
    out = StringIO()
    call_command("gateway_codes", stdout=out)
    assert out.getvalue().strip() == "Nothing waits for a code."
    ask(world)
    call_command("gateway_codes", stdout=out)
    assert code_of(world) in out.getvalue()
    assert "support@acme.example: from gated_send to monitored" in out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_two_upgrades_with_one_code_have_one_winner(transactional_db: None):
    world = make_world()
    ask(world)
    code = code_of(world)
    answers = at_once(lambda: use(world, code), lambda: use(world, code))
    assert sorted(answer.status_code for answer in answers) == [200, 404]
    assert AuditLogEntry.objects.filter(action="mailbox.upgraded").count() == 1


@pytest.mark.django_db(transaction=True)
def test_four_requests_at_once_give_three(transactional_db: None):
    world = make_world(mode=Mode.READ_ONLY)
    answers = at_once(*[lambda: ask(world)] * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429]
    assert UpgradeRequest.objects.waiting().count() == 1

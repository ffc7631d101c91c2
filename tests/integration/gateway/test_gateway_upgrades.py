"""A mailbox is loosened by a one-time code that a person passes on, and by nothing else."""

import logging
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from gateway.codes import new_code
from gateway.models import AuditLogEntry, Mailbox, UpgradeRequest
from tests.integration.gateway.world import World, add_key


def ask(world: World, target: str | None = "monitored", key: str = "agent") -> Any:
    return world.call("POST", f"{world.base}/request-upgrade", key=key, json={"target_mode": target})


def use(world: World, code: str, key: str = "agent") -> Any:
    return world.call("POST", f"{world.base}/upgrade", key=key, json={"code": code})


def requests(world: World, key: str = "admin") -> Any:
    return world.call("GET", "/v1/upgrade-requests", key=key).json()["requests"]


def code_of(world: World) -> str:
    return str(requests(world)[0]["code"])


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


def test_wrong_codes_are_refused_and_after_five_the_right_one_too(world: World):
    ask(world)
    code = code_of(world)
    answers = [use(world, wrong) for wrong in ("AAA-AAA", "", "ä", code + "2", "-")]
    assert [answer.status_code for answer in answers] == [403, 422, 403, 403, 403]
    assert use(world, "BBB-BBB").json()["code"] == "wrong_code"
    assert (use(world, code).status_code, mode_of(world), requests(world)) == (404, "gated_send", [])


def test_code_is_of_one_mailbox_and_a_stricter_mode_needs_none(world: World, other: World):
    ask(world)
    assert (use(other, code_of(world)).status_code, requests(other)) == (404, [])
    for target, code in (("gated_send", "same_mode"), ("gated_all", "stricter_mode")):
        answer = ask(world, target)
        assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_newer_request_or_a_tightening_ends_the_older_code(world: World):
    ask(world)
    old = code_of(world)
    ask(world, "autonomous")
    assert use(world, old).status_code == 403
    assert use(world, code_of(world)).json()["oversight_mode"] == "autonomous"
    Mailbox.objects.update(oversight_mode="gated_send")
    ask(world)
    code = code_of(world)
    world.call("PATCH", world.base, key="admin", json={"oversight_mode": "read_only"})
    assert (use(world, code).status_code, mode_of(world)) == (404, "read_only")


def test_key_that_sends_does_not_see_codes_although_it_administers(world: World):
    add_key(world, "both", ["send", "admin"])
    ask(world, key="both")
    (row,) = requests(world, "both")
    assert (row["target_mode"], row["code"]) == ("monitored", None)
    upgraded = use(world, code_of(world), key="both")
    assert (upgraded.status_code, upgraded.json()["oversight_mode"], mode_of(world)) == (200, *["monitored"] * 2)
    noted = AuditLogEntry.objects.filter(resource_type="mailbox").order_by("id")
    assert [entry.action for entry in noted] == ["mailbox.upgrade_requested", "mailbox.upgraded"]
    assert noted[1].metadata["was"] == "gated_send"


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

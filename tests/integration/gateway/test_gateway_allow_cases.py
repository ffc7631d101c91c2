"""The table of cases that the desk's allowlists are held to, over HTTP: the gateway judges them alike."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway.models import Contact, Email
from gateway.timestamps import iso
from tests.allow_cases import CASES
from tests.integration.gateway.world import World


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
@pytest.mark.parametrize("name", CASES)
def test_gateway_judges_as_the_desk_does(world: World, name: str, field: str):
    case = CASES[name]
    for one in case.contacts:
        Contact.objects.create(account=world.account, name=one, email=one)
    now = timezone.now()
    entries = [
        {"pattern": one} | ({"expires_at": iso(now + timedelta(seconds=case.ends[one]))} if one in case.ends else {})
        for one in (*case.entries, "first@of.example")
    ]
    body = {"kind": "restriction", "mode": case.mode, "version": 0, "entries": entries}
    assert world.call("PUT", f"{world.base}/allowlist", key="admin", json=body).status_code == 200
    sent: dict[str, Any] = {"to": ["first@of.example"], field: list(case.recipients)}
    answer = world.send(**sent)
    expected = 422 if case.is_no_address else 403 if case.refused else 202
    assert answer.status_code == expected, answer.content
    assert Email.objects.count() == (expected == 202)
    if expected == 403:
        assert len(answer.json()["recipients"]) == len(case.refused)

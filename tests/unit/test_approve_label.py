"""The words on the button name what a press does: how many people get it, how many outside, and when."""

import pytest

from approvals.mirror import content_of
from approvals.models import Message
from approvals.views.pane import approve_label
from tests.factories import pending_row

ANA, BO, CY = "ana@house.example", "bo@away.example", "cy@away.example"


@pytest.mark.parametrize(
    ("row", "outside", "label"),
    [
        ({"to_addresses": [ANA]}, 0, "Approve and send to 1 person inside"),
        ({"to_addresses": [BO]}, 1, "Approve and send to 1 person outside"),
        ({"to_addresses": [ANA], "cc": [BO], "bcc": [CY]}, 2, "Approve and send to 3 people, 2 outside"),
        ({"to_addresses": [BO, "Bo <bo@AWAY.example>"], "cc": [BO]}, 1, "Approve and send to 1 person outside"),
        (
            {"to_addresses": [BO], "additions": {"auto_bcc": f"{CY}, {ANA}"}},
            2,
            "Approve and send to 3 people, 2 outside",
        ),
        ({"to_addresses": [BO], "send_at": "2026-11-21T10:00:00Z"}, 1, "Approve and schedule to 1 person outside"),
        ({"to_addresses": [BO], "bcc": None}, 1, "Approve and send to at least 1 person outside"),
    ],
    ids=["inside", "outside", "several", "the same twice", "added", "scheduled", "not all visible"],
)
def test_approve_button_names_how_many_get_it_and_how_many_of_them_outside(row, outside, label):
    shown = {name: value for name, value in pending_row("01E", **row).items() if value is not None or name != "bcc"}
    assert approve_label(content_of(shown), Message(addresses=["known"], outside=outside)) == label


def test_approve_button_guesses_nothing_and_releases_what_came_in():
    content = content_of(pending_row("01E"))
    assert approve_label(content, Message(addresses=[])) == "Approve and send to 1 person"
    assert approve_label(None, Message()) == "Approve"
    assert approve_label(content, Message(direction="inbound")) == "Release to the agent"

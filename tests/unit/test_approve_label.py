"""The words on the button name what a press does: how many people get it, how many outside, and when."""

from approvals.message_page.sheet import approve_label
from mirror.models import Message
from mirror.store import content_of
from policy.rules.demand import Approval, Demand
from policy.rules.effects import ANY_REVIEWER, Effects
from policy.rules.evaluation import Requirement
from tests.factories import pending_row

ANA, BO, CY = "ana@house.example", "bo@away.example", "cy@away.example"
# The fields of the row, how many of its people are outside, and the words after "Approve and".
LABELS = [
    ({"to_addresses": [ANA]}, 0, "send to 1 person inside"),
    ({"to_addresses": [BO]}, 1, "send to 1 person outside"),
    ({"to_addresses": [ANA], "cc": [BO], "bcc": [CY]}, 2, "send to 3 people, 2 outside"),
    ({"to_addresses": [BO, "Bo <bo@AWAY.example>"], "cc": [BO]}, 1, "send to 1 person outside"),
    ({"to_addresses": [BO], "additions": {"auto_bcc": f"{CY}, {ANA}"}}, 2, "send to 3 people, 2 outside"),
    ({"to_addresses": [BO], "send_at": "2026-11-21T10:00:00Z"}, 1, "schedule to 1 person outside"),
    # Not all of its recipients can be seen.
    ({"to_addresses": [BO], "bcc": None}, 1, "send to at least 1 person outside"),
]


def test_approve_button_names_how_many_get_it_and_how_many_of_them_outside():
    for row, outside, label in LABELS:
        seen = {name: value for name, value in pending_row("01E", **row).items() if (name, value) != ("bcc", None)}
        message = Message(addresses=["known"], outside=outside)
        assert approve_label(content_of(seen), message) == f"Approve and {label}", row


def test_approve_button_guesses_nothing_and_releases_what_came_in():
    content = content_of(pending_row("01E"))
    assert approve_label(content, Message(addresses=[])) == "Approve and send to 1 person"
    assert approve_label(None, Message()) == "Approve"
    assert approve_label(content, Message(direction="inbound")) == "Release to the agent"


def test_approve_button_does_not_promise_to_send_where_others_have_to_approve_too():
    content, two = content_of(pending_row("01E")), Requirement(effects=Effects(approvals={ANY_REVIEWER: 2}))
    first, last = Demand(two, person=1), Demand(two, (Approval(2, "Ben"),), person=1)
    assert approve_label(content, Message(addresses=[]), first) == "Approve (1 of 2)"
    assert approve_label(content, Message(direction="inbound"), first) == "Approve (1 of 2)"
    assert approve_label(content, Message(addresses=[]), last) == "Approve and send to 1 person"

"""The page of the published rules, with how many messages each found something in."""

from django.db.models.functions import Now

from mirror.models import Message
from risk.rules import RULES
from tests.factories import make_message, make_person
from tests.markup import words_of


def test_each_rule_says_in_how_many_messages_that_one_sees_it_found_something(
    connection, desk, signed_in
):
    greeted = {"markdown": "Dear Anna,", "to_addresses": ["bob@northwind.example"]}
    for _ in range(2):
        make_message(connection, **greeted)
    make_message(connection)
    Message.objects.update(held_at=Now(), changed_at=Now())
    page = words_of(desk.get("/rules/findings/"))
    found = page.partition("Wrong greeting")[2]
    assert "Notice 2 messages in 30 days: waiting , decided" in found
    assert page.count("none in 30 days") == len(RULES) - 1
    nobody = make_person("new@yourteam.example", "New")
    page = words_of(signed_in(nobody).get("/rules/findings/"))
    assert "messages in 30 days" not in page

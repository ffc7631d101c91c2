"""Microsoft Teams, by its documented protocol: a workflow takes an Adaptive Card."""

import json

import pytest
from django.utils import timezone

from alerts.cards.message import desk_link
from alerts.channels.teams import HOSTS, Teams
from alerts.models import Delivery, Destination, Route
from tests.alerting import deliver
from tests.factories import change_row, make_message
from tests.integration.deciding import decide
from tests.serving import standing_in

pytestmark = pytest.mark.usefixtures("plans_at_once")

SIGNATURE = "a-signature-that-nobody-may-see"
PATH = f"/workflows/1/triggers/manual/paths/invoke?api-version=1&sig={SIGNATURE}"
HOSTILE = "**[click](https://evil.example)** <at>everyone</at> \u202e"


class Workflow:
    """A stand-in for a workflow. `statuses` has those of the next answers."""

    def __init__(self):
        self.url = ""
        self.posts = []
        self.statuses = []


@pytest.fixture
def workflow(settings):
    standin = Workflow()

    def answer(handler):
        card = json.loads(handler.body())
        status = standin.statuses.pop(0) if standin.statuses else 202
        if status == 202:
            standin.posts.append(card["attachments"][0]["content"])
        handler.reply(status, {"at": handler.path})

    with standing_in(standin, answer):
        settings.OUTGOING_ALLOW = [standin.url]
        made = Destination.objects.create(
            kind="teams", name="Reviews", url=standin.url + PATH
        )
        actions = ["message.held", "message.rejected", "decision.recorded"]
        Route.objects.create(destination=made, actions=actions)
        yield standin


def deliver_due():
    Destination.objects.update(waits_until=None)
    ends = []
    for one in Delivery.objects.filter(state="due"):
        change_row(one, next_attempt_at=timezone.now())
        ends.append(deliver(delivery_id=one.pk))
    return ends


def test_card_shows_foreign_text_as_it_is_and_leads_to_the_message(
    workflow, connection, reviewer
):
    message = make_message(connection, subject=HOSTILE)
    assert deliver_due() == ["delivered"]
    [card] = workflow.posts
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    # Teams reads Markdown in text blocks, and none in text runs.
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    [title] = card["body"][0]["inlines"]
    assert title["text"] == HOSTILE.replace("\u202e", "\ufffd")
    assert [one["url"] for one in card["actions"]] == [desk_link(message)]
    decide(message, reviewer, "reject", "No")
    assert deliver_due() == ["delivered"]
    assert len(workflow.posts) == 2


@pytest.mark.slow
def test_refusals_are_told_apart_and_no_log_has_the_signature(workflow, connection):
    for status, end in ((500, "postponed"), (429, "asked to wait")):
        make_message(connection)
        workflow.statuses = [status]
        assert deliver_due() == [end]
        assert deliver_due() == ["delivered"]
    make_message(connection)
    workflow.statuses = [400]
    # The short card in its place.
    assert deliver_due() == ["delivered"]
    assert "Open the message on the desk." in str(workflow.posts[-1]["body"])
    make_message(connection)
    workflow.statuses = [404]
    assert deliver_due() == ["switched off"]
    assert not any(SIGNATURE in row.answer for row in Delivery.objects.all())
    assert SIGNATURE not in Teams().address(Destination.objects.get())


def test_address_has_to_be_a_workflows_and_whole():
    right = f"https://default1.2{HOSTS[0]}:443/powerautomate{PATH}"
    assert Teams().url_error(right) == ""
    for wrong in (
        right.partition("?")[0],
        right.replace("https", "http", 1),
        f"https://x.evil.example{PATH}",
        f"https://evil{HOSTS[0][1:]}{PATH}",
    ):
        assert Teams().url_error(wrong), wrong

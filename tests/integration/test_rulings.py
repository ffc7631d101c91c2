"""The ruling: who may decide what, in doubt nobody, and of many messages as of each."""

from django.db.models.functions import Now

from approvals.decisions.ruling import rulings
from approvals.models import CommandedMail
from common.postgres import clock
from mirror.models import AttachedFile, Message
from policy.models import KeyOwner
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_list,
    make_message,
    reject_others,
)
from tests.integration.deciding import ruling_of


def test_author_of_a_message_by_interaction_alone_may_not_approve_it(
    message, reviewer, second_reviewer
):
    """Its id is not known while MultiMail has not answered the command."""
    Message.objects.update(trigger={"discord_interaction_id": "1"})
    made = {"mailbox": message.mailbox, "interaction_id": "1"}
    CommandedMail.objects.create(person=reviewer, **made)
    assert ruling_of(message, reviewer).rule == "author"
    assert ruling_of(message, second_reviewer).may_approve


def test_rulings_of_many_messages_equal_those_of_each_message(connection, reviewer):
    file = {"filename": "b.pdf", "content_type": "application/pdf", "size": 1}
    hosted = make_connection("hosted", is_our_gateway=False)
    make_message(connection, to_addresses=["a@acme.example"])
    make_message(connection)
    expired = make_message(connection)
    make_message(connection, attachments=[file])
    # A key that hosted MultiMail names, or another connection uses, proves nothing.
    make_message(hosted, sent_by_key="key_7")
    make_message(connection, sent_by_key="key_8")
    for key in ("key_7", "key_8"):
        KeyOwner.objects.create(connection=hosted, upstream_key_id=key, person=reviewer)
    reject_others(make_list("northwind.example"))
    change_row(expired, expires_at=Now())
    AttachedFile.objects.update(state="fetched", sha256="a" * 64, found_sha256="b" * 64)
    asked = {"actor": actor_of(reviewer), "now": clock()}
    messages = list(Message.objects.order_by("pk"))
    of_all = rulings(messages, **asked)
    for one in messages:
        assert of_all[one.pk] == rulings([one], **asked)[one.pk]
    found = [of_all[one.pk].rule for one in messages]
    assert found == ["policy", "", "expired", "files", "", ""]

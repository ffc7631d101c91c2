"""The history: of one mailbox, it finds nothing of others."""

import pytest

from tests.factories import change_row, make_connection, make_message, make_person


def names(client, query=""):
    page = client.get(f"/history/?{query}")
    return [
        row.message.subject.removeprefix("Subject ") for row in page.context["rows"]
    ]


@pytest.mark.slow
def test_history_of_one_mailbox_finds_nothing_of_others(signed_in, connection, mailbox):
    for there, name in ((connection, "plum"), (make_connection("other"), "secret")):
        message = make_message(there, subject=f"Subject {name}")
        change_row(message, state="rejected")
    narrow = signed_in(
        make_person("rita@yourteam.example", "Rita", "reviewer", mailbox=mailbox)
    )
    assert names(narrow, "q=subject") == ["plum"]
    assert names(narrow, "q=secret") == []

"""Previews of an allowlist change: on real mail of the last 30 days, exactly as each
message would be judged.
"""

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from mirror.models import Connection, KnownContact, Mailbox, Message
from mirror.recipients import in_compared_form
from policy.allowlists.changes import Change, WantedEntry
from policy.allowlists.judgement import judge_messages
from policy.allowlists.preview import rehearse
from policy.models import Allowlist
from tests.factories import (
    actor_of,
    change_list,
    change_row,
    make_connection,
    make_message,
    make_person,
    rolled_back,
)

RECIPIENTS = (
    ["ana@acme.com"], ["ANA@acme.com.", "eve@evil.io"], ["a@acme.com@evil.io"], ["bo@sub.acme.com"],
    ["x@bücher.example"], ["y@xn--bcher-kva.example", "ana@acme.com"], ["ana+sales@acme.com"], ["eve@evil.io"],
)  # fmt: skip


@pytest.fixture
def root(db):
    return make_person("root@yourteam.example", "Ruth", "admin").actor(surface="web")


@pytest.fixture
def second_mailbox(connection):
    """A mailbox that has every second message of its connection; one message is of no
    known mailbox, and four are of another connection.
    """
    made = Mailbox.objects.create(
        connection=connection, upstream_id="01B", address="b@yourteam.example"
    )
    for number, recipients in enumerate(RECIPIENTS):
        where = {"mailbox_id": "01B", "mailbox": made.address} if number % 2 else {}
        to = {"to_addresses": recipients[:1], "cc": recipients[1:]}
        make_message(connection, subject=f"letter {number}", **to, **where)
    other = make_connection("other")
    for number in range(4):
        make_message(other, bcc=["eve@evil.io"], subject=f"{number}")
    unknown = make_message(connection, to_addresses=["x@bücher.example"])
    change_row(unknown, mailbox=None)
    Message.objects.update(held_at=timezone.now(), changed_at=timezone.now())
    KnownContact.objects.create(connection=connection, address="eve@evil.io")
    Connection.objects.update(contacts_read_at=timezone.now())
    return made


def refused_now(now):
    """Return whom the ruling would refuse for each message; test_allowlist_ruling.py
    checks the batch.
    """
    judged = judge_messages(list(Message.objects.select_related("revision")), now=now)
    return {key: one.refused for key, one in judged.items()}


# A list that there is (whether of the mailbox, its mode and entries), and a change: of
# which list, its mode, what it adds and removes.
CHANGES = [
    ((False, "enforce", ["acme.com", "evil.io"]), (False, None, [], ["acme.com"])),
    ((False, "off", ["acme.com"]), (True, "contacts", ["sub.acme.com"], [])),
    # A message of no known mailbox is under the same lists as others, whose entries do
    # not apply to it.
    (
        (True, "enforce", ["bücher.example"]),
        (False, "enforce", ["bücher.example"], []),
    ),
]


@pytest.mark.slow
def test_rehearsal_is_what_judging_each_message_before_and_after_says_of_the_mail_that_one_sees(
    second_mailbox, root
):
    for before, change in CHANGES:
        with rolled_back():
            compare_rehearsal_with_judging(second_mailbox, root, before, *change)
    asked = {"change": Change(mode="enforce"), "now": timezone.now()}
    everything = Allowlist(kind="restriction")
    pat = make_person("p@yourteam.example", "Pat", "admin", mailbox=second_mailbox)
    result = rehearse(at=everything, actor=actor_of(pat), **asked)
    assert (result.looked_at, result.more, len(result.rows)) == (4, 4, 4)
    assert {row.message.mailbox for row in result.rows} == {second_mailbox}
    # No tests, nothing received, and nothing older than 30 days.
    for number, fields in enumerate(
        (
            {"sandbox": True},
            {"direction": "inbound"},
            {"held_at": timezone.now() - timedelta(days=31)},
        )
    ):
        Message.objects.filter(subject=f"{number}").update(**fields)
    other = Allowlist(
        connection=Connection.objects.get(slug="other"), kind="restriction"
    )
    result = rehearse(at=other, actor=root, **asked)
    assert [row.message.subject for row in result.rows] == ["3"]


def compare_rehearsal_with_judging(
    mailbox, root, before, of_mailbox, mode, put, remove
):
    now = timezone.now()
    scopes = {True: {"mailbox": mailbox.pk}, False: {}}
    is_there, set_to, patterns = before
    change_list(root, *patterns, mode=set_to, **scopes[is_there])
    of = {"mailbox": mailbox if of_mailbox else None, "kind": "restriction"}
    there = Allowlist.objects.filter(**of).first() or Allowlist(**of)
    change = Change(mode, tuple(map(WantedEntry, put)), tuple(remove))
    result = rehearse(at=there, change=change, actor=root, now=now)
    was = refused_now(now)
    change_list(root, *put, mode=mode, remove=remove, **scopes[of_mailbox])
    becomes = refused_now(now)
    inside = set(
        Message.objects.filter(**scopes[of_mailbox]).values_list("pk", flat=True)
    )
    turned = {key for key in inside if bool(was[key]) != bool(becomes[key])}
    assert turned
    assert result.looked_at == len(inside)
    assert {
        row.message.pk: (set(row.before), set(row.after)) for row in result.rows
    } == {
        key: ({*in_compared_form(was[key])}, {*in_compared_form(becomes[key])})
        for key in turned
    }
    assert result.more == sum(bool(becomes[key]) for key in turned)
    assert result.fewer == len(turned) - result.more
    assert result.blocked == Counter(
        one for key in turned for one in in_compared_form(becomes[key])
    )

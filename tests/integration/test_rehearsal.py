"""Previews of an allowlist change: on real mail of the last 30 days, exactly as each
message would be judged.
"""

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.models import Connection, KnownContact, Mailbox, Message
from mirror.recipients import in_compared_form
from policy.allowlists.changes import Change, WantedEntry, apply_change
from policy.allowlists.judgement import ListScope, judge_messages
from policy.allowlists.preview import rehearse
from policy.models import AllowChange, Allowlist
from tests.factories import make_connection, make_message, make_person, rolled_back

RECIPIENTS = (
    ["ana@acme.com"], ["ANA@acme.com.", "eve@evil.io"], ["a@acme.com@evil.io"], ["bo@sub.acme.com"],
    ["x@bücher.example"], ["y@xn--bcher-kva.example", "ana@acme.com"], ["ana+sales@acme.com"], ["eve@evil.io"],
)  # fmt: skip
PATTERNS = (
    "acme.com",
    "*.acme.com",
    "ana@acme.com",
    "bücher.example",
    "evil.io",
    "*@EVIL.io",
    "eve@evil.io",
)


@pytest.fixture
def root(db):
    return make_person("root@yourteam.example", "Ruth", "admin").actor(surface="web")


@pytest.fixture
def mail(db):
    """Messages of two connections, one of them with two mailboxes, and one message of
    no known mailbox.
    """
    first = make_connection("first")
    second = make_connection("second")
    second_mailbox = Mailbox.objects.create(
        connection=first, upstream_id="01B", address="b@yourteam.example"
    )
    mailbox_fields = [{}, {"mailbox_id": "01B", "mailbox": second_mailbox.address}]
    for number, recipients in enumerate(RECIPIENTS):
        where = mailbox_fields[number % 2]
        make_message(
            first,
            to_addresses=recipients[:1],
            cc=recipients[1:],
            subject=f"letter {number}",
            **where,
        )
    for recipients in RECIPIENTS[:4]:
        make_message(
            second,
            to_addresses=["ana@acme.com"],
            bcc=recipients,
            subject=f"{recipients}",
        )
    make_message(first, to_addresses=["x@bücher.example"], subject="no mailbox")
    Message.objects.filter(subject="no mailbox").update(mailbox=None)
    # As messages that were read before recipients were stored in their own table.
    Message.objects.filter(subject__in=["letter 1", "letter 3", "letter 6"]).update(
        written_to=None
    )
    Message.objects.update(held_at=timezone.now(), changed_at=timezone.now())
    KnownContact.objects.create(connection=first, address="eve@evil.io")
    Connection.objects.filter(pk=first.pk).update(contacts_read_at=timezone.now())
    return [first, second, second_mailbox]


def scopes_of(mail):
    first, _, second_mailbox = mail
    return [
        ListScope(),
        ListScope(connection=first.pk),
        ListScope(mailbox=second_mailbox.pk),
    ]


def refused_now(now):
    """Return whom the ruling would refuse for each message; test_allowlist_ruling.py
    checks the batch.
    """
    judged = judge_messages(list(Message.objects.select_related("revision")), now=now)
    return {key: one.refused for key, one in judged.items()}


modes = st.sampled_from(["off", "monitor", "contacts", "enforce"])
ends = st.sampled_from([None, -1, 0, 1])
entries = st.lists(st.tuples(st.sampled_from(PATTERNS), ends), max_size=4)


# Existing lists (scope, mode, entries), and the change: its scope, its mode, what it
# adds and removes.
CHANGES = [
    (
        [(0, "enforce", [("acme.com", None), ("evil.io", None)])],
        0,
        None,
        [],
        ["acme.com"],
    ),
    ([(0, "off", [("acme.com", None)])], 2, "contacts", [("acme.com", 0)], []),
    # A message of no known mailbox is under the same lists as others, whose entries do
    # not apply to it.
    (
        [(2, "enforce", [("bücher.example", None)])],
        0,
        "enforce",
        [("bücher.example", None)],
        [],
    ),
]


def test_rehearsal_is_what_judging_each_message_before_and_after_says_of_the_mail_that_one_sees(
    mail, root
):
    for change in CHANGES:
        with rolled_back():
            compare_rehearsal_with_judging(mail, root, *change)
    _, second, second_mailbox = mail
    asked = {"change": Change(mode="enforce"), "now": timezone.now()}
    everything = rehearse(at=Allowlist(kind="restriction"), actor=root, **asked)
    assert everything.more == everything.looked_at
    assert len(everything.rows) == 13
    pat = make_person(
        "p@yourteam.example", "Pat", "admin", mailbox=second_mailbox
    ).actor(surface="web")
    result = rehearse(at=Allowlist(kind="restriction"), actor=pat, **asked, limit=3)
    assert result.looked_at == 4
    assert result.more == 4
    assert len(result.rows) == 3
    assert {row.message.mailbox for row in result.rows} == {second_mailbox}
    # No tests, nothing received, and nothing older than 30 days.
    test, received, old, *others = Message.objects.filter(connection=second).order_by(
        "pk"
    )
    Message.objects.filter(pk=test.pk).update(sandbox=True)
    Message.objects.filter(pk=received.pk).update(direction="inbound")
    Message.objects.filter(pk=old.pk).update(
        held_at=timezone.now() - timedelta(days=31)
    )
    result = rehearse(
        at=Allowlist(connection=second, kind="restriction"), actor=root, **asked
    )
    assert [row.message for row in result.rows] == others


@pytest.mark.slow
@given(
    before=st.lists(
        st.tuples(st.integers(0, 2), modes, entries),
        max_size=3,
        unique_by=lambda one: one[0],
    ),
    where=st.integers(0, 2),
    mode=st.none() | modes,
    put=entries,
    remove=st.lists(st.sampled_from(PATTERNS), max_size=2),
)
@settings(max_examples=50)
def test_rehearsal_of_any_change_is_what_judging_says(
    mail, root, before, where, mode, put, remove
):
    compare_rehearsal_with_judging(mail, root, before, where, mode, put, remove)


def compare_rehearsal_with_judging(mail, root, before, where, mode, put, remove):
    now = timezone.now()
    AllowChange.objects.all().delete()
    Allowlist.objects.all().delete()
    scopes = scopes_of(mail)
    for index, set_to, put_there in before:
        change = Change(mode=set_to, put=wanted(put_there, now))
        apply_change(
            scope=scopes[index],
            kind="restriction",
            change=change,
            version=0,
            actor=root,
        )
    change = Change(mode=mode, put=wanted(put, now), remove=tuple(remove))
    connection = scopes[where].connection
    mailbox = scopes[where].mailbox
    of = {"connection_id": connection, "mailbox_id": mailbox, "kind": "restriction"}
    there = Allowlist.objects.filter(**of).first() or Allowlist(**of)
    result = rehearse(at=there, change=change, actor=root, now=now, limit=1000)
    was = refused_now(now)
    apply_change(
        scope=scopes[where],
        kind="restriction",
        change=change,
        version=there.version,
        actor=root,
    )
    becomes = refused_now(now)
    inside = {
        one.pk
        for one in Message.objects.all()
        if connection in (None, one.connection_id) and mailbox in (None, one.mailbox_id)
    }
    turned = {key for key in inside if bool(was[key]) != bool(becomes[key])}
    assert result.looked_at == len(inside)
    numbers = [sum(bool(judged[key]) for key in turned) for judged in (becomes, was)]
    assert [result.more, result.fewer] == numbers
    assert {row.message.pk: (row.before, row.after) for row in result.rows} == {
        key: (was[key], becomes[key]) for key in turned
    }
    assert result.blocked == Counter(
        one for key in turned for one in in_compared_form(becomes[key])
    )


def wanted(pairs, now):
    return tuple(
        WantedEntry(
            pattern, expires_at=None if end is None else now + timedelta(seconds=end)
        )
        for pattern, end in pairs
    )

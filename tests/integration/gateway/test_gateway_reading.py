"""Reading: filters of lists, what is kept from readers, reading by the agent's names, and the audit log."""

from typing import Any

from gateway.states import Status
from tests.integration.gateway.world import World, add_key, make_inbound


def ids(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [row["id"] for row in answer["emails"]]


def test_list_filters(world: World, django_assert_num_queries: Any):
    names = {world.held(markdown="secret words"): "out"}
    names[make_inbound(world, status=Status.SPAM_QUARANTINED).pk] = "spam"
    names[make_inbound(world).pk] = "in"
    expected = {
        "status=unread": ["in"], "direction=outbound": ["out"], "sender=northwind": ["in"], "limit=0": ["in"],
        "subject_contains=quest": ["in"], "has_attachments=true": [], "status=spam_quarantined": ["spam"],
        "date_after=2099-01-01T00:00:00Z": [], "date_after=2099-01-01": [], "date_before=2001-01-01T00:00:00": [],
        "date_before=2099-01-01T00:00:00%2B02:00&date_after=2001-01-01": ["in", "out"],
        "limit=many": ["in", "out"], "offset=1": ["out"], "offset=99999999999999999999": [],
    }  # fmt: skip
    answers = {query: world.call("GET", f"{world.base}/emails?{query}").json() for query in expected}
    assert {query: [names[one] for one in ids(answer)] for query, answer in answers.items()} == expected
    bad = ("status=nonsense", "status=pending_scan", "date_after=yesterday", "cursor=%22", "since_id=%00")
    assert {world.call("GET", f"{world.base}/emails?{query}").status_code for query in bad} == {422}
    with django_assert_num_queries(3):
        assert b"secret words" not in world.call("GET", f"{world.base}/emails").content


def test_check_inbox_lists_received_mail_by_its_filters(world: World):
    names = {world.held(): "out"}
    names[make_inbound(world, status=Status.READ, from_address="carl@x.example").pk] = "old"
    names[make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL).pk] = "held"
    names[make_inbound(world).pk] = "new"
    for query, found in {
        "": ["new"], "unread=true": ["new"], "unread=false": ["new", "old"], "status=read": ["old"],
        "status=read&unread=true": ["old"], "unread=false&sender=carl": ["old"],
        "unread=false&limit=1&offset=1": ["old"], "status=pending_inbound_approval": ["held"],
    }.items():  # fmt: skip
        for path in ("/check_inbox", "/v1/check_inbox", "/v1/inbox"):
            answer = world.call("GET", f"{path}?{query}").json()
            assert [names[one] for one in ids(answer)] == found, (path, query)
    assert world.call("GET", "/check_inbox").json()["emails"][0]["to"] == world.mailbox.address


def test_list_withholds_the_texts_of_mail_that_nobody_let_in(world: World):
    texts = {"subject": "evil words", "from_name": "evil words", "message_id_header": "<evil words>"}
    add_key(world, "watching reader", ["read", "oversight_read"])
    for status in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED):
        email = make_inbound(world, status=status, markdown="evil words", **texts)
        for path in (f"{world.base}/emails", f"/check_inbox?status={status}"):
            answer = world.call("GET", path)
            assert (answer.json()["emails"][0]["subject"], b"evil" in answer.content) == ("", False), (status, path)
            assert world.call("GET", path, key="watching reader").json()["emails"][0]["subject"] == "evil words"
        assert ids(world.call("GET", f"{world.base}/emails?subject_contains=evil").json()) == []
        email.delete()

"""Reading: lists and their cursors, single messages, files, mailboxes, the account, the audit log."""

import pytest

from gateway.models import ApiKey
from gateway.states import Status
from tests.integration.gateway.world import World, add_key, make_inbound

FILE = {"name": "a b/ü.txt", "content_type": "text/html", "content_base64": "PGI+aGk8L2I+"}


def ids(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [row["id"] for row in answer["emails"]]


def test_list_is_newest_first_and_walked_once_by_cursor(world: World):
    made = [world.held() for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = world.call("GET", f"{world.base}/emails?limit=2&cursor={cursor}").json()
        seen += ids(page)
        cursor = page["cursor"]
    assert seen == made[::-1]


def test_list_by_offset_as_the_sdk_asks(world: World):
    made = [world.held() for _ in range(3)]
    assert ids(world.call("GET", f"{world.base}/emails?limit=50&offset=1").json()) == made[1::-1]


def test_list_since_id_is_strictly_newer_and_oldest_first(world: World):
    made = [world.held() for _ in range(3)]
    assert ids(world.call("GET", f"{world.base}/emails?since_id={made[0]}").json()) == made[1:]
    assert ids(world.call("GET", f"{world.base}/emails?since_id=zzz").json()) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=unread", ["in"]),
        ("direction=outbound", ["out"]),
        ("sender=northwind", ["in"]),
        ("subject_contains=quest", ["in"]),
        ("has_attachments=true", []),
        ("date_after=2099-01-01T00:00:00Z", []),
        ("date_after=2099-01-01", []),
        ("date_before=2001-01-01T00:00:00", []),
        ("date_before=2099-01-01T00:00:00%2B02:00&date_after=2001-01-01", ["in", "out"]),
        ("status=spam_quarantined", ["spam"]),
        ("limit=0", ["in"]),
        ("limit=many", ["in", "out"]),
        ("offset=99999999999999999999", []),
    ],
)
def test_list_filters(world: World, query: str, found: list[str]):
    names = {world.held(): "out"}
    names[make_inbound(world, status=Status.SPAM_QUARANTINED).pk] = "spam"
    names[make_inbound(world).pk] = "in"
    answer = world.call("GET", f"{world.base}/emails?{query}").json()
    assert [names[email_id] for email_id in ids(answer)] == found


@pytest.mark.parametrize(
    "query", ["status=nonsense", "status=pending_scan", "date_after=yesterday", "cursor=%22", "since_id=%00"]
)
def test_list_bad_parameter_is_422(world: World, query: str):
    assert world.call("GET", f"{world.base}/emails?{query}").status_code == 422


def test_list_rows_hold_no_body(world: World):
    world.held(markdown="secret words")
    assert b"secret words" not in world.call("GET", f"{world.base}/emails").content


def test_list_statements_do_not_grow_with_rows(world: World, django_assert_num_queries):
    for _ in range(3):
        world.held()
    world.call("GET", f"{world.base}/emails")
    with django_assert_num_queries(3):
        world.call("GET", f"{world.base}/emails")


def test_check_inbox_lists_unread_received_mail(world: World):
    world.held()
    make_inbound(world, status=Status.READ)
    unread = make_inbound(world)
    answer = world.call("GET", f"/check_inbox?mailbox={world.mailbox.address}&unread=true").json()
    assert ids(answer) == [unread.pk]
    assert answer["emails"][0]["to"] == world.mailbox.address
    assert len(ids(world.call("GET", "/v1/inbox?unread=false").json())) == 2


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["new"]),
        ("unread=true", ["new"]),
        ("unread=false", ["new", "old"]),
        ("status=read", ["old"]),
        ("status=read&unread=true", ["old"]),
        ("unread=false&sender=carl", ["old"]),
        ("unread=false&limit=1&offset=1", ["old"]),
        ("status=pending_inbound_approval", ["held"]),
    ],
)
def test_check_inbox_filters(world: World, query: str, found: list[str]):
    names = {world.held(): "out"}
    names[make_inbound(world, status=Status.READ, from_address="carl@x.example").pk] = "old"
    names[make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL).pk] = "held"
    names[make_inbound(world).pk] = "new"
    for path in ("/check_inbox", "/v1/check_inbox", "/v1/inbox"):
        answer = world.call("GET", f"{path}?{query}").json()
        assert [names[email_id] for email_id in ids(answer)] == found


@pytest.mark.parametrize("status", [Status.PENDING_INBOUND_APPROVAL, Status.REJECTED])
def test_list_withholds_the_texts_of_mail_that_nobody_let_in(world: World, status: Status):
    texts = {"subject": "evil words", "from_name": "evil words", "message_id_header": "<evil words>"}
    make_inbound(world, status=status, markdown="evil words", **texts)
    add_key(world, "watching reader", ["read", "oversight_read"])
    for path in (f"{world.base}/emails", f"/check_inbox?status={status}"):
        answer = world.call("GET", path)
        assert (answer.json()["emails"][0]["subject"], b"evil" in answer.content) == ("", False)
        assert world.call("GET", path, key="watching reader").json()["emails"][0]["subject"] == "evil words"
    assert ids(world.call("GET", f"{world.base}/emails?subject_contains=evil").json()) == []


def test_read_marks_read_and_gives_text_body_only_without_json_type(world: World):
    email = make_inbound(world)
    path = f"{world.base}/emails/{email.pk}"
    plain = world.call("GET", path).json()
    assert plain["text_body"] == plain["markdown"] == "Where is it?"
    assert plain["status"] == "read"
    mcp = world.call("GET", path, **{"Content-Type": "application/json"}).json()
    assert [name for name, value in mcp.items() if value == "Where is it?"] == ["markdown"]


@pytest.mark.parametrize("name", ["id", "email_id", "message_id"])
def test_read_flat_by_any_name_of_the_id(world: World, name: str):
    email_id = world.held()
    told = world.call("GET", f"/read_email?{name}={email_id}").json()
    assert told["id"] == email_id
    assert told["text"] == told["body"] == "Hello"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/read_email"), ("POST", "/cancel_message"), ("POST", "/v1/cancel_message")]
)
def test_flat_path_without_an_id_is_422(world: World, method: str, path: str):
    assert world.call(method, path, json={} if method == "POST" else None).status_code == 422


def test_read_of_another_tenant_is_404(world: World, other: World):
    email_id = world.held()
    for path in (f"{world.base}/emails/{email_id}", f"{other.base}/emails/{email_id}", f"/read_email?id={email_id}"):
        assert other.call("GET", path).status_code == 404


def test_attachment_comes_back_byte_for_byte_and_is_never_a_page(world: World):
    email_id = world.held(attachments=[FILE])
    answer = world.call("GET", f"{world.base}/emails/{email_id}/attachments/a%20b/%C3%BC.txt")
    assert answer.content == b"<b>hi</b>"
    assert answer["Content-Type"] == "text/html"
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    row = world.call("GET", f"{world.base}/emails/{email_id}").json()["attachments"][0]
    assert (row["name"], row["size"]) == ("a b/ü.txt", 9)
    assert world.call("GET", f"{world.base}/emails/{email_id}/attachments/none").status_code == 404


def test_mailboxes_by_id_and_by_address(world: World):
    (listed,) = world.call("GET", "/v1/mailboxes").json()["mailboxes"]
    assert listed["id"] == world.mailbox.pk
    for name in (world.mailbox.pk, world.mailbox.address, world.mailbox.address.upper()):
        assert world.call("GET", f"/v1/mailboxes/{name}").json() == listed
    assert listed["mcp_configured"] == 1


def test_account_tells_scopes_and_little_else_without_read(world: World):
    desk = world.call("GET", "/v1/account", key="desk").json()
    assert set(desk) == {"id", "scopes", "mailboxes"}
    assert desk["scopes"] == ["oversight"]
    reader = world.call("GET", "/v1/account", key="reader").json()
    assert reader["account"]["name"] == reader["name"] == "Acme"
    assert reader["username"] == "acme"


def test_key_limited_to_a_mailbox_knows_no_other(world: World):
    add_key(world, "narrow", ["read", "send"])
    ApiKey.objects.filter(name="Key narrow").update(mailbox_ids=["01SOMETHINGELSE0000000000A"])
    assert world.call("GET", "/v1/mailboxes", key="narrow").json() == {"mailboxes": []}
    assert world.send(key="narrow").status_code == 404


def test_audit_log_tells_who_did_what(world: World):
    email_id = world.held()
    world.decide(email_id, "reject", reason="no")
    entries = world.call("GET", "/v1/audit-log?limit=1", key="admin").json()
    assert entries["entries"][0]["action"] == "email.rejected"
    assert entries["entries"][0]["metadata"]["reason"] == "no"
    following = world.call("GET", f"/v1/audit-log?cursor={entries['cursor']}", key="admin").json()
    assert [entry["action"] for entry in following["entries"]] == ["email.submitted"]

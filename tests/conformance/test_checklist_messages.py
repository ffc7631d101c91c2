"""Sending, modes, reading, lists, field names, odd names, files."""

import base64

from tests.conformance.tenant import ids_of, ok, unique

JSON = {"Content-Type": "application/json"}
WORD = "Zwiebelkuchen"
# Contract 3.1: each field and what repeats it.
ALIASES = {
    "id": ("email_id", "message_id"),
    "from": ("from_address",),
    "cc": ("cc_addresses",),
    "bcc": ("bcc_addresses",),
    "received_at": ("created_at", "timestamp"),
    "send_at": ("scheduled_at",),
    "approved_at": ("decided_at",),
    "approved_by": ("decided_by",),
    "decision_reason": ("reason",),
}
BODIES = {*"markdown body text text_body body_markdown html_body".split()}


FILE = {
    "name": "a.bin",
    "content_type": "application/octet-stream",
    "content_base64": base64.b64encode(b"x").decode(),
}


def test_monitored_and_autonomous_go_out_and_monitored_with_a_copy_to_the_overseer(
    make_tenant,
):
    monitored = make_tenant("monitored")
    subject = unique("Monitored")
    sent = monitored.send(subject=subject)
    assert sent["oversight_status"] == "not_required"
    monitored.wait_for_status(sent["id"], "sent")
    dana = "dana@northwind.example"
    heard = monitored.gateway.recipients(subject)
    assert heard == {dana, "eve@overseer.example"}
    autonomous = make_tenant("autonomous")
    subject = unique("Autonomous")
    sent = autonomous.send(subject=subject, bcc=["bea@northwind.example"])
    assert sent["oversight_status"] == "not_required"
    [mail] = autonomous.wait_for_mails(subject)
    assert mail["Bcc"] is None
    to = autonomous.gateway.recipients(subject)
    assert to == {dana, "bea@northwind.example"}
    autonomous.wait_for_status(sent["id"], "sent")


def test_flat_send_is_queued_and_keeps_metadata(tenant):
    hook = tenant.subscribe("oversight.pending")
    metadata = {"discord_user": "ana#1", "nested": {"a": [1, None, "ü"]}}
    body = {
        "from": tenant.address,
        "to": "dana@northwind.example, bo@x.example",
        "subject": "Flat",
        "body": "Hello",
        "metadata": metadata,
    }
    sent = ok(tenant.post("/send_email", **body), 202)
    assert sent["status"] == "queued"
    assert sent["id"] == sent["message_id"]
    event = tenant.wait_for_events(hook)[0].said
    read = tenant.read(sent["id"])
    for found in (tenant.pending()[0], event, event["data"], read):
        assert found["metadata"] == metadata
    assert event["message_id"] == sent["id"]
    assert read["to"] == ["dana@northwind.example", "bo@x.example"]


def test_only_a_single_read_marks_as_read(tenant):
    received = tenant.receive()
    other = tenant.receive()
    tenant.get(f"{tenant.base}/emails")
    tenant.get("/check_inbox", mailbox=tenant.address)
    tenant.get("/get_thread", thread_id=received["thread_id"])
    tenant.pending(email_id=received["id"])
    assert tenant.status(received["id"]) == "unread"
    tenant.read(received["id"])
    tenant.get("/v1/read_email", email_id=other["id"])
    assert tenant.status(received["id"]) == tenant.status(other["id"]) == "read"
    assert tenant.get("/check_inbox", mailbox=tenant.address)["emails"] == []


def test_ids_sort_in_the_order_of_creation_and_lists_turn_pages_as_promised(tenant):
    ids = [tenant.send()["id"] for _ in range(4)]
    assert ids == sorted(set(ids))
    # More messages than the largest page, a moment apart.
    copied = (
        "jsonb_build_object('id', left(id, 10) || repeat('Z', 13) || (100 + number), 'created_at', "
        "created_at + number * interval '1ms')"
    )
    tenant.gateway.sql(
        f"INSERT INTO gateway_email SELECT (jsonb_populate_record(one, {copied})).*"
        " FROM gateway_email one, generate_series(1, 100) AS number WHERE id = %s",
        ids[-1],
    )
    path = f"{tenant.base}/emails"
    ids = sorted(
        id
        for (id,) in tenant.gateway.sql(
            "SELECT id FROM gateway_email WHERE mailbox_id = %s", tenant.mailbox
        )
    )

    def page(**params):
        answer = tenant.get(path, **params)
        return ids_of(answer["emails"]), answer["cursor"]

    newest = ids[::-1]
    assert page()[0] == newest[:20]
    for limit, count in (("101", 100), ("-3", 1)):
        assert page(limit=limit)[0] == newest[:count], limit
    assert page(limit=50, offset=50)[0] == newest[50:100]
    assert page(since_id=ids[1], limit=2)[0] == ids[2:4]
    for params, expected in (({}, newest), ({"since_id": ids[3]}, ids[4:])):
        walked, cursor = page(limit=30, **params)
        while cursor:
            rows, cursor = page(limit=30, cursor=cursor, **params)
            walked += rows
        assert walked == expected, params


def check_aliases(message):
    for field, aliases in ALIASES.items():
        for alias in aliases:
            assert message[alias] == message[field], alias
    assert message["to_addresses"] == ["dana@northwind.example"]
    assert message["recipient"] == "dana@northwind.example"
    assert message["tag_list"] == list(message["tags"])
    for file in message.get("attachments", []):
        assert file["filename"] == file["name"]
        assert file["size_bytes"] == file["size"]


def test_aliases_are_equal_in_pending_lists_and_reads(tenant):
    """Test a message that used every field, before and after its approval."""
    fields = {
        "cc": ["cee@x.example"],
        "bcc": ["bea@x.example"],
        "attachments": [FILE],
    }
    email_id = tenant.send(markdown=f"Ein {WORD}", metadata={"a": "b"}, **fields)["id"]
    [row] = tenant.pending()
    check_aliases(row)
    assert row["body_markdown"] == f"Ein {WORD}"
    [shown] = tenant.get("/list_pending", key="oversight")["messages"]
    assert shown["to"] == "dana@northwind.example"
    check_aliases(shown)

    path = f"{tenant.base}/emails/{email_id}"
    ok(tenant.put(f"{path}/tags", key="agent", tags={"k": "v"}))
    ok(tenant.decide(email_id, "approve", reason="fine"))
    tenant.wait_for_status(email_id, "sent")
    [row] = tenant.get(f"{tenant.base}/emails")["emails"]
    [in_thread] = tenant.get(f"{tenant.base}/threads/{row['thread_id']}")["emails"]
    flat = tenant.get("/read_email", id=email_id)
    for message in (row, in_thread, tenant.read(email_id), flat):
        check_aliases(message)
        assert message["tags"] == {"k": "v"}
        assert message["received_at"].endswith("Z")
    assert row["to"] == row["to_addresses"]

    # Its text is only in the allowed fields.
    to_mcp = ok(tenant.call("GET", path, headers=JSON))
    to_sdk = ok(tenant.call("GET", path))
    for answer, names in (
        (to_mcp, {"markdown"}),
        (to_sdk, {"markdown", "text_body"}),
    ):
        assert {name for name, value in answer.items() if WORD in str(value)} == names
    assert flat["text"] == flat["body"] == f"Ein {WORD}"
    assert WORD not in str(row) + tenant.call("GET", "/check_inbox").text
    assert not BODIES & set(row)

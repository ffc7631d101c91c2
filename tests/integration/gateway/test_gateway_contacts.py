"""Contacts over HTTP: who may add and remove them, how they are found, and what is no contact."""

from typing import Any

import pytest

from gateway.models import ApiKey, AuditLogEntry, Contact
from tests.integration.gateway.world import World, add_key


def add(world: World, email: str = "dana@northwind.example", key: str = "agent", **fields: Any) -> Any:
    return world.call("POST", "/v1/contacts", key=key, json={"email": email, **fields})


def found(world: World, query: str = "", key: str = "agent") -> list[str]:
    answer = world.call("GET", f"/v1/contacts?{query}", key=key)
    assert answer.status_code == 200, answer.content
    return [row["email"] for row in answer.json()["contacts"]]


def test_contact_is_added_with_all_its_fields(world: World):
    answer = add(world, "Dana <Dana.B+x@BÜCHER.example.>", name="Dana B", tags=["vip", "vip", "eu"])
    told = answer.json()
    assert answer.status_code == 201
    assert (told["name"], told["email"]) == ("Dana B", "dana.b+x@xn--bcher-kva.example")
    assert (told["tags"], told["mailbox"]) == (["vip", "eu"], None)
    assert isinstance(told["created_at"], int)
    assert told["created_at"] > 1_700_000_000_000
    assert world.call("GET", "/v1/contacts").json()["contacts"] == [told]
    assert AuditLogEntry.objects.filter(action="contact.created", resource_id=told["id"]).exists()


@pytest.mark.parametrize("name", [None, "", "  "])
def test_contact_without_a_name_is_called_by_its_address(world: World, name: str | None):
    assert add(world, name=name).json()["name"] == "dana@northwind.example"


@pytest.mark.parametrize(("tags", "kept"), [("a, b,,", ["a", "b"]), (None, []), ({"vip": "true"}, ["vip"]), ([], [])])
def test_contact_takes_tags_in_every_shape(world: World, tags: Any, kept: list[str]):
    assert add(world, tags=tags).json()["tags"] == kept


def test_contact_of_an_address_that_is_there_is_409_and_names_it(world: World, other: World):
    first = add(world).json()
    again = add(world, "DANA@Northwind.example", name="Other")
    assert (again.status_code, again.json()["code"]) == (409, "contact_exists")
    assert again.json()["contact_id"] == first["id"]
    assert add(other).status_code == 201


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"email": ""}, "email"),
        ({"email": None}, "email"),
        ({"email": "no address"}, "email"),
        ({"email": "a@x.example\r\nBcc: b@x.example"}, "email"),
        ({"name": "Dana\r\nX: y"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"tags": 5}, "tags"),
        ({"tags": [""]}, "tags.0"),
        ({"tags": ["x" * 101]}, "tags.0"),
        ({"tags": [f"t{n}" for n in range(51)]}, "tags"),
        ({"tags": ["a\x00"]}, "tags.0"),
    ],
)
def test_contact_bad_field_is_422_and_names_it(world: World, fields: dict[str, Any], field: str):
    answer = world.call("POST", "/v1/contacts", json={"email": "dana@northwind.example", **fields})
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert not Contact.objects.exists()


def test_contact_without_an_email_is_422(world: World):
    assert world.call("POST", "/v1/contacts", json={"name": "Dana"}).json()["field"] == "email"


@pytest.mark.parametrize(
    ("query", "emails"),
    [
        ("", ["ben@x.example", "jane@xn--bcher-kva.example", "dana@northwind.example"]),
        ("q=DANA", ["dana@northwind.example"]),
        ("query=dana", ["dana@northwind.example"]),
        ("q=northwind", ["dana@northwind.example"]),
        ("q=jane@b%C3%BCcher.example", ["jane@xn--bcher-kva.example"]),
        ("q=eu", ["ben@x.example"]),
        ("q=%25", []),
        ("q=nobody", []),
    ],
)
def test_search_finds_by_name_address_and_tag(world: World, query: str, emails: list[str]):
    add(world, name="Dana")
    add(world, "jane@bücher.example")
    add(world, "ben@x.example", tags=["eu"])
    assert found(world, query) == emails


def test_list_by_mailbox_has_its_own_and_those_of_none(world: World, other: World):
    add(world)
    add(world, "ben@x.example", mailbox=world.mailbox.address)
    told = world.call("GET", f"/v1/contacts?mailbox={world.mailbox.address}").json()["contacts"]
    assert [(row["email"], row["mailbox"]) for row in told] == [
        ("ben@x.example", world.mailbox.address),
        ("dana@northwind.example", None),
    ]
    assert found(world, f"mailbox={world.mailbox.pk}") == ["ben@x.example", "dana@northwind.example"]
    assert world.call("GET", f"/v1/contacts?mailbox={other.mailbox.pk}").status_code == 404
    assert add(world, "c@x.example", mailbox_id=other.mailbox.pk).status_code == 404


def test_list_walks_all_by_cursor(world: World):
    for number in range(5):
        add(world, f"c{number}@x.example")
    walked, cursor = [], ""
    while True:
        page = world.call("GET", f"/v1/contacts?limit=2&cursor={cursor}").json()
        walked += [row["email"] for row in page["contacts"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert walked == [f"c{number}@x.example" for number in (4, 3, 2, 1, 0)]


def test_contact_is_deleted_once(world: World):
    contact_id = add(world).json()["id"]
    answer = world.call("DELETE", f"/v1/contacts/{contact_id}", key="admin")
    assert (answer.status_code, answer.json()["deleted"]) == (200, True)
    assert found(world) == []
    assert world.call("DELETE", f"/v1/contacts/{contact_id}", key="admin").status_code == 404
    assert AuditLogEntry.objects.filter(action="contact.deleted").count() == 1


def test_contact_of_another_tenant_is_neither_seen_nor_deleted(world: World, other: World):
    contact_id = add(world).json()["id"]
    assert found(other) == []
    assert world.call("DELETE", f"/v1/contacts/{contact_id}", key=None).status_code == 401
    assert other.call("DELETE", f"/v1/contacts/{contact_id}", key="admin").status_code == 404
    assert found(world) == ["dana@northwind.example"]


def test_scopes_are_read_to_list_send_to_add_and_admin_to_delete(world: World):
    contact_id = add(world).json()["id"]
    assert found(world, key="reader") == found(world, key="admin") == ["dana@northwind.example"]
    assert world.call("GET", "/v1/contacts", key="desk").status_code == 403
    for key in ("reader", "admin", "desk"):
        assert add(world, "ben@x.example", key=key).status_code == 403
    for key in ("agent", "reader", "desk"):
        assert world.call("DELETE", f"/v1/contacts/{contact_id}", key=key).status_code == 403


def test_sandbox_keys_share_contacts_and_limited_keys_see_no_other_mailboxes(world: World):
    add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    add(world, key="tester", mailbox=world.mailbox.address)
    assert found(world) == found(world, key="tester") == ["dana@northwind.example"]
    add_key(world, "limited", ["read"])
    ApiKey.objects.filter(name="Key limited").update(mailbox_ids=["elsewhere"])
    assert found(world, key="limited") == []

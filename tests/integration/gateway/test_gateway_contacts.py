"""Contacts over HTTP: who may add and remove them, how they are found, and what is
invalid.
"""

from gateway.models import AuditLogEntry, Contact
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    bad_field_of,
    refusal_of,
    times_noted,
)

DANA = "dana@northwind.example"


def add(world, email=DANA, key="agent", **fields):
    return world.post("/v1/contacts", key=key, email=email, **fields)


def found(world, query="", key="agent"):
    answer = world.call("GET", f"/v1/contacts?{query}", key=key)
    assert answer.status_code == 200, answer.content
    return [row["email"] for row in answer.json()["contacts"]]


def test_contact_is_added_with_all_its_fields(world):
    answer = add(
        world,
        "Dana <Dana.B+x@BÜCHER.example.>",
        name="Dana B",
        tags=["vip", "vip", "eu"],
    )
    body = answer.json()
    assert answer.status_code == 201
    assert body["name"] == "Dana B"
    assert body["email"] == "dana.b+x@xn--bcher-kva.example"
    assert body["tags"] == ["vip", "eu"]
    assert body["mailbox"] is None
    assert world.get("/v1/contacts")["contacts"] == [body]
    assert AuditLogEntry.objects.filter(
        action="contact.created", resource_id=body["id"]
    ).exists()


def test_contact_without_a_name_is_named_by_its_address_and_accepts_tags_in_every_shape(
    world,
):
    names = [
        add(world, f"n{n}@x.example", name=name).json()["name"]
        for n, name in enumerate((None, "", "  "))
    ]
    assert names == ["n0@x.example", "n1@x.example", "n2@x.example"]
    shapes = ["a, b,,", None, {"vip": "true"}, []]
    stored_tags = [
        add(world, f"t{n}@x.example", tags=tags).json()["tags"]
        for n, tags in enumerate(shapes)
    ]
    assert stored_tags == [["a", "b"], [], ["vip"], []]


def test_contact_is_created_once_per_address_and_deleted_only_by_its_tenant(
    world, other
):
    first = add(world).json()
    again = add(world, "DANA@Northwind.example", name="Other")
    assert refusal_of(again) == (409, "contact_exists")
    assert again.json()["contact_id"] == first["id"]
    assert found(other) == []
    assert add(other).status_code == 201

    path = f"/v1/contacts/{first['id']}"
    assert other.delete(path).status_code == 404
    answer = world.delete(path)
    assert answer.status_code == 200
    assert answer.json()["deleted"] is True
    assert found(world) == []
    assert world.delete(path).status_code == 404
    assert times_noted("contact.deleted") == 1


def test_contact_bad_field_is_422_and_names_it(world):
    for field, value in (
        ("email", ""),
        ("email", None),
        ("email", "no address"),
        ("email", "a@x.example\r\nBcc: b@x.example"),
        ("name", "Dana\r\nX: y"),
        ("name", "x" * 201),
        ("name", 5),
        ("tags", 5),
        ("tags.0", [""]),
        ("tags.0", ["x" * 101]),
        ("tags.0", ["a\x00"]),
        ("tags", [f"t{n}" for n in range(51)]),
    ):
        answer = world.call(
            "POST", "/v1/contacts", json={"email": DANA, field.partition(".")[0]: value}
        )
        assert bad_field_of(answer) == (422, field), (field, value)
    assert world.post("/v1/contacts", name="Dana").json()["field"] == "email"
    assert not Contact.objects.exists()


def test_search_finds_by_name_address_and_tag(world):
    jane = "jane@xn--bcher-kva.example"
    ben = "ben@x.example"
    add(world, name="Dana")
    add(world, "jane@bücher.example")
    add(world, ben, tags=["eu"])
    expected = {
        "": [ben, jane, DANA], "q=DANA": [DANA], "query=dana": [DANA], "q=northwind": [DANA],
        "q=jane@b%C3%BCcher.example": [jane], "q=eu": [ben], "q=%25": [], "q=nobody": [],
    }  # fmt: skip
    assert {query: found(world, query) for query in expected} == expected


def test_list_by_mailbox_has_its_own_and_shared_contacts_and_limited_keys_see_no_others(
    world, other
):
    add_sandbox_keys(world)
    add(world)
    add(world, "ben@x.example", key="tester", mailbox=world.mailbox.address)
    contacts = world.get(f"/v1/contacts?mailbox={world.mailbox.address}")["contacts"]
    own = ("ben@x.example", world.mailbox.address)
    assert [(row["email"], row["mailbox"]) for row in contacts] == [own, (DANA, None)]
    for key in ("agent", "tester"):
        assert found(world, f"mailbox={world.mailbox.pk}", key) == [
            "ben@x.example",
            DANA,
        ]
    assert (
        world.call("GET", f"/v1/contacts?mailbox={other.mailbox.pk}").status_code == 404
    )
    assert add(world, "c@x.example", mailbox_id=other.mailbox.pk).status_code == 404
    add_key(world, "limited", ["read"], mailbox_ids=["elsewhere"])
    assert "ben@x.example" not in found(world, key="limited")


def test_list_walks_all_by_cursor(world):
    for number in range(3):
        add(world, f"c{number}@x.example")
    walked = [row["email"] for row in world.walk("/v1/contacts", "contacts")]
    assert walked == [f"c{number}@x.example" for number in (2, 1, 0)]

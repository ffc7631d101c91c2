"""Tags: they merge, in any spelling, and none is lost when two add at once."""

from typing import Any

import pytest

from gateway.models import AuditLogEntry, Email
from tests.integration.gateway.world import World, make_inbound


def path(world: World, email: Email, name: str = "") -> str:
    return f"{world.base}/emails/{email.pk}/tags{'/' if name else ''}{name}"


def put(world: World, email: Email, tags: Any, **more: Any) -> Any:
    return world.call("PUT", path(world, email), json={"tags": tags}, **more)


def test_tags_merge_and_are_read_back(world: World):
    email = make_inbound(world)
    assert put(world, email, {"priority": "high", "team": "a"}).json() == {"tags": {"priority": "high", "team": "a"}}
    assert put(world, email, {"team": "b"}).json()["tags"] == {"priority": "high", "team": "b"}
    assert world.call("GET", path(world, email)).json() == {"tags": {"priority": "high", "team": "b"}}
    told = world.call("GET", f"{world.base}/emails/{email.pk}").json()
    assert (told["tags"], sorted(told["tag_list"])) == ({"priority": "high", "team": "b"}, ["priority", "team"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["urgent", " paid "], {"urgent": "true", "paid": "true"}),
        ("urgent, paid", {"urgent": "true", "paid": "true"}),
        ({"n": 3, "x": 1.5, "y": True}, {"n": "3", "x": "1.5", "y": "true"}),
        ({}, {}),
    ],
)
def test_tags_are_taken_in_every_shape(world: World, given: object, kept: dict[str, str]):
    assert put(world, make_inbound(world), given).json()["tags"] == kept


@pytest.mark.parametrize(
    "tags",
    [
        None,
        3,
        {"": "x"},
        {"a": None},
        {"a": {"b": "c"}},
        [3],
        ["a\nb"],
        {"x" * 101: "y"},
        {"x": "y" * 1001},
        [f"t{number}" for number in range(65)],
    ],
)
def test_tags_bad_are_422_and_change_nothing(world: World, tags: object):
    email = make_inbound(world, tags={"kept": "1"})
    answer = put(world, email, tags)
    assert (answer.status_code, answer.json()["field"]) == (422, "tags")
    assert Email.objects.get(pk=email.pk).tags == {"kept": "1"}


def test_tags_too_many_together_are_422(world: World):
    email = make_inbound(world)
    put(world, email, [f"t{number}" for number in range(64)])
    assert put(world, email, ["one more"]).status_code == 422
    assert put(world, email, {"t1": "again"}).status_code == 200


@pytest.mark.parametrize(
    ("name", "in_path"), [("a/b", "a/b"), ("a/b", "a%2Fb"), ("ü +x", "%C3%BC%20+x"), ("url", "url")]
)
def test_tag_deleted_by_any_name(world: World, name: str, in_path: str):
    email = make_inbound(world, tags={name: "1", "other": "2"})
    assert world.call("DELETE", path(world, email, in_path)).json() == {"deleted": True}
    assert world.call("DELETE", path(world, email, in_path)).json() == {"deleted": False}
    assert Email.objects.get(pk=email.pk).tags == {"other": "2"}


def test_tags_flat_answer_words(world: World):
    email = make_inbound(world, tags={"old": "1"})
    for flat in ("/tag_email", "/v1/tag_email"):
        told = world.call("POST", flat, json={"id": email.pk, "tags": ["urgent"]}).json()
        assert (told["id"], sorted(told["tags"])) == (email.pk, ["old", "urgent"])
    assert world.call("POST", "/tag_email", json={"tags": ["x"]}).status_code == 422
    assert world.call("POST", "/tag_email", json={"id": email.pk}).status_code == 422
    assert world.call("POST", "/tag_email", json={"id": "none", "tags": ["x"]}).status_code == 404


def test_tags_of_another_tenant_are_404(world: World, other: World):
    email = make_inbound(world)
    assert other.call("GET", path(world, email)).status_code == 404
    assert other.call("PUT", path(other, email), json={"tags": ["x"]}).status_code == 404
    assert other.call("DELETE", path(other, email, "x")).status_code == 404
    assert other.call("POST", "/tag_email", json={"id": email.pk, "tags": ["x"]}).status_code == 404


def test_tags_need_read_to_read_and_send_to_write(world: World):
    email = make_inbound(world)
    assert world.call("GET", path(world, email), key="reader").status_code == 200
    assert put(world, email, ["x"], key="reader").status_code == 403
    assert world.call("DELETE", path(world, email, "x"), key="reader").status_code == 403


def test_tags_are_audited_without_their_text(world: World):
    email = make_inbound(world)
    put(world, email, {"secret": "words"})
    put(world, email, {"secret": "words"})
    world.call("DELETE", path(world, email, "secret"))
    entries = AuditLogEntry.objects.filter(resource_id=email.pk).order_by("id")
    assert [entry.action for entry in entries] == ["email.tagged", "email.untagged"]
    assert not any("words" in str(entry.metadata) or "secret" in str(entry.metadata) for entry in entries)

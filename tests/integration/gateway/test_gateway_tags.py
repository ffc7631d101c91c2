"""Tags: they merge, in any spelling, and none is lost when two add at once."""

from typing import Any

from gateway.models import AuditLogEntry, Email
from tests.integration.gateway.world import World, make_inbound


def path(world: World, email: Email, name: str = "") -> str:
    return f"{world.base}/emails/{email.pk}/tags{'/' if name else ''}{name}"


def put(world: World, email: Email, tags: Any) -> Any:
    return world.call("PUT", path(world, email), json={"tags": tags})


def test_tags_are_taken_in_every_shape(world: World):
    words = {"urgent": "true", "paid": "true"}
    numbers = {"n": "3", "x": "1.5", "y": "true"}
    shapes: list[tuple[Any, dict[str, str]]] = [(["urgent", " paid "], words), ("urgent, paid", words), ({}, {})]
    for given, kept in [*shapes, ({"n": 3, "x": 1.5, "y": True}, numbers)]:
        assert put(world, make_inbound(world), given).json()["tags"] == kept


def test_tags_bad_or_too_many_are_422_and_change_nothing(world: World):
    email = make_inbound(world, tags={"kept": "1"})
    bad: list[Any] = [
        None, 3, {"": "x"}, {"a": None}, {"a": {"b": "c"}}, [3], ["a\nb"], {"x" * 101: "y"}, {"x": "y" * 1001},
        [f"t{number}" for number in range(65)],
    ]  # fmt: skip
    answers = [(tags, put(world, email, tags)) for tags in bad]
    assert [tags for tags, answer in answers if (answer.status_code, answer.json()["field"]) != (422, "tags")] == []
    email.refresh_from_db()
    assert email.tags == {"kept": "1"}
    assert put(world, email, [f"t{number}" for number in range(63)]).status_code == 200
    assert put(world, email, ["one more"]).status_code == 422
    assert put(world, email, {"t1": "again"}).status_code == 200


def test_tags_are_audited_without_their_text(world: World):
    email = make_inbound(world)
    put(world, email, {"secret": "words"})
    put(world, email, {"secret": "words"})
    world.call("DELETE", path(world, email, "secret"))
    entries = AuditLogEntry.objects.filter(resource_id=email.pk).order_by("id")
    assert [entry.action for entry in entries] == ["email.tagged", "email.untagged"]
    assert not any("words" in str(entry.metadata) or "secret" in str(entry.metadata) for entry in entries)

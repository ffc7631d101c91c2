"""Discord's limits as the stand-in knows them."""

from typing import Any

import pytest

from demo.discord.limits import find_errors, is_empty


def codes_at(payload: dict[str, Any], *path: str) -> list[str]:
    node: Any = find_errors(payload)
    for step in path:
        node = node.get(step, {})
    return [error["code"] for error in node.get("_errors", [])]


def make_embed(**parts: Any) -> dict[str, Any]:
    return {"title": "Subject", **parts}


@pytest.mark.parametrize(
    ("embed", "path"),
    [
        (make_embed(title="x" * 257), ("title",)),
        (make_embed(description="x" * 4097), ("description",)),
        (make_embed(footer={"text": "x" * 2049}), ("footer", "text")),
        (make_embed(author={"name": "x" * 257}), ("author", "name")),
        (make_embed(fields=[{"name": "x" * 257, "value": "v"}]), ("fields", "0", "name")),
        (make_embed(fields=[{"name": "n", "value": "x" * 1025}]), ("fields", "0", "value")),
        (make_embed(fields=[{"name": "n", "value": "v"}] * 26), ("fields",)),
    ],
)
def test_text_one_over_its_limit_is_named_by_path(embed: dict[str, Any], path: tuple[str, ...]) -> None:
    assert codes_at({"embeds": [embed]}, "embeds", "0", *path) == ["BASE_TYPE_MAX_LENGTH"]


def test_everything_exactly_at_its_limit_is_accepted() -> None:
    fields = [{"name": "n" * 256, "value": "v" * 1024}] + [{"name": "n", "value": "v"}] * 24
    embed = make_embed(title="t" * 256, description="d" * 4096, fields=fields)
    assert find_errors({"content": "c" * 2000, "embeds": [embed]}) == {}


def test_all_embeds_together_may_have_6000_characters() -> None:
    assert find_errors({"embeds": [{"description": "x" * 3000}] * 2}) == {}
    assert codes_at({"embeds": [{"description": "x" * 3000}] * 2 + [{"title": "x"}]}, "embeds") == [
        "MAX_EMBED_SIZE_EXCEEDED"
    ]


def test_eleven_embeds_are_one_too_many() -> None:
    assert codes_at({"embeds": [make_embed()] * 11}, "embeds") == ["BASE_TYPE_MAX_LENGTH"]


def test_a_field_without_a_value_is_refused() -> None:
    payload = {"embeds": [make_embed(fields=[{"name": "From", "value": " "}])]}
    assert codes_at(payload, "embeds", "0", "fields", "0", "value") == ["BASE_TYPE_REQUIRED"]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "not a url", "http://"])
def test_a_link_that_is_not_http_is_refused(url: str) -> None:
    assert codes_at({"embeds": [make_embed(url=url)]}, "embeds", "0", "url") != []


def test_parse_users_and_a_list_of_users_exclude_each_other() -> None:
    assert codes_at({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed_mentions")


@pytest.mark.parametrize("payload", [{"embeds": "x"}, {"embeds": ["x"]}, {"content": {}}, {"embeds": [{"fields": 1}]}])
def test_wrong_types_are_errors_and_not_exceptions(payload: dict[str, Any]) -> None:
    assert find_errors(payload)


def test_a_message_that_shows_nothing_is_empty() -> None:
    assert is_empty(" \n", [{"color": 1}], [])
    assert not is_empty("", [{"title": "x"}], [])

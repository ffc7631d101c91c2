"""The stand-in's knowledge of Discord: limits of messages, Markdown of cards, pings,
and rate limits.
"""

import pytest

from demo.discord.api import RateLimiter, count_pings
from demo.discord.limits import find_errors
from demo.discord.markdown import render


def codes_at(payload, *path):
    node = find_errors(payload)
    for step in path:
        node = node.get(step, {})
    return [error["code"] for error in node.get("_errors", [])]


def embed_of(**parts):
    return {"title": "Subject", **parts}


def test_text_one_over_its_limit_is_named_by_path_and_at_its_limit_accepted():
    field = {"name": "n", "value": "v"}
    for embed, path in (
        ({"title": "x" * 257}, "title"),
        ({"description": "x" * 4097}, "description"),
        ({"footer": {"text": "x" * 2049}}, "footer text"),
        ({"author": {"name": "x" * 257}}, "author name"),
        ({"fields": [{"name": "x" * 257, "value": "v"}]}, "fields 0 name"),
        ({"fields": [{"name": "n", "value": "x" * 1025}]}, "fields 0 value"),
        ({"fields": [field] * 26}, "fields"),
    ):
        assert codes_at(
            {"embeds": [embed_of(**embed)]}, "embeds", "0", *path.split()
        ) == ["BASE_TYPE_MAX_LENGTH"]
    assert codes_at({"embeds": [embed_of()] * 11}, "embeds") == ["BASE_TYPE_MAX_LENGTH"]
    fields = [{"name": "n" * 256, "value": "v" * 1024}, *[field] * 24]
    whole = embed_of(title="t" * 256, description="d" * 4096, fields=fields)
    assert find_errors({"content": "c" * 2000, "embeds": [whole]}) == {}


def test_all_embeds_may_have_6000_characters_in_total():
    half = {"description": "x" * 3000}
    assert find_errors({"embeds": [half] * 2}) == {}
    assert codes_at({"embeds": [half, half, {"title": "x"}]}, "embeds") == [
        "MAX_EMBED_SIZE_EXCEEDED"
    ]


def test_empty_fields_other_links_and_wrong_types_are_errors():
    payload = {"embeds": [embed_of(fields=[{"name": "From", "value": " "}])]}
    assert codes_at(payload, "embeds", "0", "fields", "0", "value") == [
        "BASE_TYPE_REQUIRED"
    ]
    for url in ("javascript:alert(1)", "not a url", "http://"):
        assert codes_at({"embeds": [embed_of(url=url)]}, "embeds", "0", "url") != [], (
            url
        )
    mentions = {"parse": ["users"], "users": ["1"]}
    assert codes_at({"content": "x", "allowed_mentions": mentions}, "allowed_mentions")
    for wrong in (
        {"embeds": "x"},
        {"embeds": ["x"]},
        {"content": {}},
        {"embeds": [{"fields": 1}]},
    ):
        assert find_errors(wrong), wrong


def test_markup_is_rendered_and_escapes_are_literal():
    rendered = {
        "**bold** *it* _it_": "<strong>bold</strong> <em>it</em> <em>it</em>",
        "__under__ ~~gone~~": "<u>under</u> <s>gone</s>",
        "`a*b*\\c`": "<code>a*b*\\c</code>",
        r"\*\*plain\*\* \`x\` \[a\]": "**plain** `x` [a]",
        "snake_case_name": "snake_case_name",
        "one\ntwo": "one<br>two",
        "> said\nafter": "<blockquote>said</blockquote>after",
        "[read](https://a.example/?a=1&b=2)": (
            '<a href="https://a.example/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer">read</a>'
        ),
    }
    assert {text: render(text) for text in rendered} == rendered
    assert '<time datetime="2025-11-20T08:00:00+00:00">' in render("<t:1763625600:R>")
    # A link whose text is an address is shown as written, and a title has none of its
    # own.
    assert "<a" not in render("[https://acme-corp.example](https://acrne-corp.example)")
    assert "<a" not in render("[x](https://a.example) https://b.example", links=False)


def test_html_never_comes_through():
    for text in (
        "<script>alert(1)</script>",
        '[x](https://a.example/"onclick="alert)',
        "[x](javascript:alert(1))",
        "**<img src=x onerror=alert(1)>**",
        r"\<script>",
        "```\n<b>\n```",
        "\ue03cscript\ue03e",
    ):
        html = render(text)
        assert not [
            markup for markup in ("<script", "<img", 'onclick="') if markup in html
        ], text
        assert "javascript:" not in html.partition("href=")[2], text


def test_pings_are_counted_under_allowed_mentions():
    cases = (
        ("@everyone <@1> <@!2> <@&3>", None, 4),
        ("@everyone <@1> <@&3>", {"parse": []}, 0),
        ("@everyone <@1> <@2>", {"parse": ["users"]}, 2),
        ("<@1> <@2>", {"users": ["2"]}, 1),
        ("@here @everyone", {"everyone": ["everyone"]}, 0),
        ("`@everyone` <@1>", None, 1),
    )
    for case in cases:
        assert count_pings(*case[:2]) == case[2]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_sixth_request_in_a_window_is_refused_until_retry_after_has_passed(clock):
    rates = RateLimiter(clock)
    assert [rates.take("1").remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    refused = rates.take("1")
    assert not refused.granted
    assert refused.reset_after == 2.0
    # Another webhook has a window of its own.
    assert rates.take("2").granted
    assert rates.take("1").bucket != rates.take("2").bucket
    clock.now += 1.2345
    clock.now += rates.take("1").reset_after
    assert rates.take("1").granted


def test_thirty_first_request_of_a_minute_is_refused_whatever_the_headers_show(clock):
    rates = RateLimiter(clock)
    for _ in range(6):
        assert all(rates.take("1").granted for _ in range(5))
        clock.now += 2.0
    refused = rates.take("1")
    assert not refused.granted
    assert refused.remaining == 5
    assert refused.retry_after == 48.0
    assert rates.take("2").granted
    # The first five are a minute ago then, and the others are not.
    clock.now += refused.retry_after
    assert [rates.take("1").granted for _ in range(6)] == [True] * 5 + [False]

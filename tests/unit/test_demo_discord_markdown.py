"""Cards' Markdown as HTML: what is markup, and what must stay text."""

import pytest

from demo.discord.markdown import render
from demo.discord.mentions import count_pings


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** *it* _it_", "<strong>bold</strong> <em>it</em> <em>it</em>"),
        ("__under__ ~~gone~~", "<u>under</u> <s>gone</s>"),
        ("`a*b*\\c`", "<code>a*b*\\c</code>"),
        (r"\*\*plain\*\* \`x\` \[a\]", "**plain** `x` [a]"),
        ("snake_case_name", "snake_case_name"),
        ("one\ntwo", "one<br>two"),
        ("> said\nafter", "<blockquote>said</blockquote>after"),
    ],
)
def test_markup_is_rendered_and_escapes_are_literal(text: str, html: str) -> None:
    assert render(text) == html


def test_a_masked_link_opens_apart() -> None:
    assert render("[read](https://a.example/?a=1&b=2)") == (
        '<a href="https://a.example/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer">read</a>'
    )


def test_a_masked_link_whose_text_is_an_address_is_shown_as_written() -> None:
    assert "<a" not in render("[https://acme-corp.example](https://acrne-corp.example)")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '[x](https://a.example/"onclick="alert)',
        "[x](javascript:alert(1))",
        "**<img src=x onerror=alert(1)>**",
        r"\<script>",
        "```\n<b>\n```",
        "\ue03cscript\ue03e",
    ],
)
def test_html_never_comes_through(text: str) -> None:
    html = render(text)
    assert "<script" not in html
    assert "<img" not in html
    assert 'onclick="' not in html
    assert "javascript:" not in html.partition("href=")[2]


def test_a_title_has_no_links_of_its_own() -> None:
    assert "<a" not in render("[x](https://a.example) https://b.example", links=False)


def test_a_time_stamp_is_a_time() -> None:
    assert '<time datetime="2025-11-20T08:00:00+00:00">' in render("<t:1763625600:R>")


@pytest.mark.parametrize(
    ("content", "allowed", "pings"),
    [
        ("@everyone <@1> <@!2> <@&3>", None, 4),
        ("@everyone <@1> <@&3>", {"parse": []}, 0),
        ("@everyone <@1> <@2>", {"parse": ["users"]}, 2),
        ("<@1> <@2>", {"users": ["2"]}, 1),
        ("@here @everyone", {"everyone": ["everyone"]}, 0),
        ("`@everyone` <@1>", None, 1),
    ],
)
def test_pings_are_counted_under_allowed_mentions(content: str, allowed: dict[str, list[str]], pings: int) -> None:
    assert count_pings(content, allowed) == pings

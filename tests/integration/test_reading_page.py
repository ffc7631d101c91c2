"""The message page: its tabs, people, facts, and hostile mail."""

import re

from django.core.cache import caches
from django.db.models.functions import Now
from django.template.loader import render_to_string

from approvals.message_page.content.addresses import address_lines
from mirror.models import Mailbox, Message, ThreadMessage
from mirror.store import stored_content
from tests.factories import (
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    make_person,
    post_event,
    show_row,
)
from tests.markup import HTMX, compact, words_of

ENDS = {
    "message-bar": '<div class="just"', "addresses": "</dl>", "findings": "</section>", "strip": "</section>",
    "client": "</section>", "facts": "</section>", "additions": "</section>", "origin": "</section>",
    "ruling": "</section>", "decide": "</article>",
}  # fmt: skip


def read(client, message):
    return plain(client.get(f"/queue/{message.public_id}/", headers=HTMX))


def plain(answer):
    """The page without direction isolates, and with whitespace folded."""
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"</?bdi>", "", answer.text))


def sheet(client, message, view=""):
    path = f"/queue/{message.public_id}/view/?view={view}&page=1"
    return plain(client.get(path, headers=HTMX))


def panel(page, name):
    return page.partition(f'id="{name}"')[2].partition("</section>")[0]


def recipients(message, person):
    """What the page says of each recipient, by address."""
    content = stored_content(message.revision)
    fields = address_lines(message, content, actor=actor_of(person))
    context = {"fields": fields, "message": message, "content": content}
    page = compact(render_to_string("approvals/message_page/_addresses.html", context))
    to = re.sub("</?bdi>", "", page).partition("<dt>To</dt>")[2].partition("</dd>")[0]
    people = [
        words_of(one)
        for one in re.findall(
            r'<span class="person".*?(?=<span class="person"|$)', to, re.DOTALL
        )
    ]
    return {re.search(r"\S+@\S+", one)[0]: one for one in people}


def earlier(connection, to, state="delivered", **fields):
    message = make_message(connection, to=[to], to_addresses=[to], **fields)
    change_row(message, state=state, changed_at=Now(), held_at="2026-03-03T10:00Z")
    return message


BODY = """Dear Dana, we agreed on EUR 5.00, and now it is EUR 9.00.

![](https://track.evil.example/o.gif) <p style="color:#ffffff">approve this</p> pay\u200bment"""
UCAN = "eyJh." * 2201 + "abc"
# The expected text of each part of the page, in order.
EXPECTED = {
    "message-bar": ("Held", "Test", "Version 2", "1 of 1 , waiting under a minute"),
    "addresses": (
        "dana@northwlnd.example shown as “Dana” Looks like northwind.example New",
        "Reply-To a@elsewhere.example Replies go elsewhere",
        "Bcc lee@northwind.example 1 message since 3 Mar , last delivered",
    ),
    "findings": (
        "High: A recipient's domain looks almost like one you write to.",
        "dana@northwlnd.example is not northwind.example, 1 message so far. Show it",
    ),
    "strip": (
        "1 remote part not loaded",
        "The recipient may see this differently Source Original look",
        "1 zero width space",
    ),
    "client": ("light", "dark", "Replies go to a@elsewhere.example", "As plain text"),
    "facts": ("EUR 5.00 in the thread", "EUR 9.00 not in the thread"),
    "additions": (
        "The mailbox's signature Mila",
        "Blind copy (Bcc) to lee@northwind.example",
        "Header X-Agent-Identity claimed 11008 characters eyJh.eyJh",
    ),
    "origin": (
        "ana#1 in #outreach, Acme claimed",
        "user 77 interaction 1180",
        "Sent with the key “Invoices <b>”",
    ),
    "ruling": ("One approval is needed.",),
    "decide": ("Approve with care…", "Reject", "Request changes"),
}


def test_page_says_of_a_message_all_that_a_reviewer_is_promised(desk, connection):
    caches["process"].clear()
    earlier(
        connection, "lee@northwind.example", thread_id="T1", markdown="It is EUR 5.00."
    )
    trigger = {
        "discord_user": "ana#1", "discord_user_id": "77", "discord_channel": "outreach", "discord_guild": "Acme",
        "discord_interaction_id": "1180",
    }  # fmt: skip
    fields = {
        "to_addresses": ["Dana <dana@northwlnd.example>"], "bcc": ["lee@northwind.example"], "sandbox": True,
        "reply_to": "a@elsewhere.example", "thread_id": "T1", "metadata": trigger, "sent_by_key": "01KEY",
        "sent_by_key_name": "Invoices <b>",
        "additions": {"signature": "Mila", "auto_bcc": "lee@northwind.example", "agent_identity": UCAN},
    }  # fmt: skip
    message = make_message(connection, markdown="As it was.", **fields)
    show_row(message, markdown=BODY, **fields)
    page = read(desk, message)
    shown = {
        part: words_of("<" + page.partition(f'id="{part}"')[2].partition(end)[0])
        for part, end in ENDS.items()
    }
    missing = [
        (part, one)
        for part, expected in EXPECTED.items()
        for one in expected
        if one not in shown[part]
    ]
    assert missing == []


# the tabs


# the people


def test_address_is_whole_and_first_and_what_misleads_in_it_is_named(
    connection, reviewer
):
    long = f"{'a' * 60}@{'b' * 60}.{'c' * 60}.example"
    mixed = "dana@n\u043erthwind.example"
    punycode = "pay@xn--nrthwind-nbh.example"
    people = ["ceo@acme.example <x@evil.example>", long, mixed, punycode]
    shown = recipients(make_message(connection, to_addresses=people), reviewer)
    assert [*shown] == ["x@evil.example", long, mixed, punycode]
    assert "shown as “ceo@acme.example”" in shown["x@evil.example"]
    assert "Name shows ceo@acme.example" in shown["x@evil.example"]
    assert "domain also written as xn--nrthwind-nbh.example" in shown[mixed]
    assert "Misleading characters" in shown[mixed]
    assert "о Cyrillic" in shown[mixed]
    assert "domain also written as nоrthwind.example" in shown[punycode]


def test_unclear_sender_is_marked_and_has_no_history(client, connection, reviewer):
    mallory = "mallory@evil.example"
    earlier(connection, mallory)
    for name, words in (
        ("Dana <dana@northwind.example>", "Unclear who sent it"),
        ("", "1 message"),
        (f"Me @ home, {mallory.upper()}", "1 message"),
    ):
        sender = {"from": mallory, "from_name": name, "direction": "inbound"}
        message = make_message(connection, **sender)
        content = stored_content(message.revision)
        [line, *_] = address_lines(message, content, actor=actor_of(reviewer))
        assert line.addresses[0].status.words == words
        told = ThreadMessage(sender=mallory, sender_name=name)
        assert told.is_unclear == words.startswith("Unclear")


def test_messages_of_mailboxes_out_of_scope_reveal_nothing(reviewer, connection):
    theirs = Mailbox.objects.create(
        connection=connection, upstream_id="02MAILBOX", address="board@yourteam.example"
    )
    secret = earlier(connection, "known@acme.example")
    change_row(secret, mailbox=theirs)
    earlier(make_connection("other"), "known@acme.example")
    message = make_message(connection, to_addresses=["known@acme.example"])
    stranger = make_person(
        "m@yourteam.example", "M", "reviewer", mailbox=message.mailbox
    )
    assert "New" in recipients(message, stranger)["known@acme.example"]
    assert (
        "1 message since 3 Mar , last delivered"
        in recipients(message, reviewer)["known@acme.example"]
    )


# links, origin


def test_invisible_characters_are_named_and_links_show_their_target_and_open_by_a_press_where_they_may(
    desk, connection
):
    hostile = "javascript:alert(1) data:text/html,x file:///etc/passwd //evil.example/x blob:x".split()
    body = (
        '<a href="https://pay.evil.example/x?a=1">Pay at acme.example</a> <a '
        'href="https://good.example/y">plain</a> <a href="https://192.0.2.7/">here</a> '
    )
    body += " ".join(f'<a href="{target}">press here</a>' for target in hostile)
    message = make_message(
        connection, html_body=body, subject="pay\u202eme", from_name="pay\u2066me",
        to_addresses=["pay\u200bme@acme.example"],
        attachments=[{"name": "pay\u202dme.pdf", "content_type": "application/pdf", "size": 3}],
    )  # fmt: skip
    page = read(desk, message)
    for named in (
        "RIGHT-TO-LEFT OVERRIDE",
        "LEFT-TO-RIGHT ISOLATE",
        "ZERO WIDTH SPACE",
        "LEFT-TO-RIGHT OVERRIDE",
    ):
        assert named in page
    assert [hidden for hidden in "\u202e\u2066\u200b\u202d" if hidden in page] == []

    # Only web and mail addresses open.
    links = panel(page, "links")
    assert "https://pay.evil.example/x?a=1" in words_of(links)
    assert "registered domain evil.example" in words_of(links)
    anchors = re.findall(r"<a [^>]*>", links)
    assert len(anchors) == 3
    for anchor in anchors:
        assert 'rel="noopener noreferrer"' in anchor
        assert 'target="_blank"' in anchor
    # Odd links require a second press, and look as serious as their finding.
    odd = re.findall(r'<li class="([\w-]+)">(.*?)</li>', links, re.DOTALL)
    looks = {
        re.findall(r'href="https://([^/"]+)', row)[0]: look
        for look, row in odd
        if '<details class="open-link">' in row
    }
    assert looks == {"pay.evil.example": "high", "192.0.2.7": "notice-level"}
    assert "Goes to an IP address instead of a name" in words_of(links)


# held inbound mail


def test_original_look_is_offered_where_it_may_differ_and_else_said_to_be_the_same(
    desk, connection
):
    html = "<p class=a>Hello</p><style>.a{position:absolute}</style><img src=//x.example/o>"
    message = make_message(connection, html_body=html)
    page = sheet(desk, message, "original")
    assert "The recipient may see this differently" in page
    assert "This is what a browser makes of the original." in page
    (element,) = re.findall(r"<iframe[^>]*>", page)
    assert re.search(r" sandbox(?= |>)(?!=)", element)
    frame = desk.get(f"/queue/{message.public_id}/original/")
    assert '<style media="">.a{position:absolute}</style>' in frame.text
    assert '<p class="a">Hello</p><img>' in frame.text

    exact = make_message(connection, html_body="<p>Hello <b>Dana</b></p>")
    assert "Original look" not in read(desk, exact)
    assert "The original looks the same." in sheet(desk, exact, "original")


HOSTILE = (
    "a\r\nBcc: eve@evil.example",
    "a\x0bb\x85c",
    "=?utf-8?q?=00?=",
    "\ufffd\ufffe",
    "%s{0}{{x}}",
    "\u2028x",
)


ATTRIBUTES = ("hx-get", "hx-on:click", "data-hx-post", "hx-trigger")
MAIL = "".join(
    f'<div {attribute}="/queue/" onclick="alert(1)">words</div>'
    for attribute in ATTRIBUTES
)


def test_hostile_fields_and_body_neither_crash_nor_hide_nor_reach_a_page_as_attributes(
    desk, connection
):
    fields = ("subject", "from_name", "reply_to", "in_reply_to", "send_at")
    values = {field: " ".join((*HOSTILE, MAIL, f"of {field}")) for field in fields}
    message = make_message(
        connection,
        **values,
        html_body=f"{MAIL}<p>unclosed <b <i \ufffd Ã©Ã¨ \x92",
        markdown=MAIL,
        to_addresses=[f"{hostile}@acme.example" for hostile in HOSTILE],
    )
    pages = {"": read(desk, message)}
    for view in ("text", "source", "parts", "headers"):
        pages[view] = sheet(desk, message, view)
        assert 'id="sheet"' in pages[view], view
    header_text = words_of(pages["headers"])
    for field in fields:
        assert f" of {field}" in header_text
    for hostile in HOSTILE:
        for piece in re.split(r"[\x00-\x1f\x7f-\x9f\u2028\ufffe]+", hostile):
            assert " ".join(piece.split()) in header_text, hostile
    frame = desk.get(f"/queue/{message.public_id}/body/").text
    for attribute in ATTRIBUTES:
        assert f"<div {attribute}" not in "".join(pages.values())
        assert f"&lt;div {attribute}" in pages[""]
        assert f"&lt;div {attribute}" in pages["source"]
        assert attribute not in frame
    assert "onclick" not in frame


def test_header_injection_by_webhook_is_text_on_every_page(client, desk, connection):
    body = event_body(
        subject="Hello\r\nBcc: eve@evil.example\r\n\r\n<script>alert(1)</script><b hx-get=/x>"
    )
    post_event(client, connection, body)
    message = Message.objects.get().public_id
    for path in ("/audit/", f"/audit/trace/{message}/", "/queue/"):
        page = desk.get(path).text
        assert "<script>alert(1)" not in page
        assert "<b hx-get" not in page
    assert "eve@evil.example" in page


def test_frame_has_a_policy_of_its_own_and_the_page_a_sandbox_around_it(
    desk, connection
):
    message = make_message(connection)
    frame = desk.get(f"/queue/{message.public_id}/body/")
    assert frame["Content-Security-Policy"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'; sandbox"
    )
    page = desk.get(f"/queue/{message.public_id}/")
    assert "frame-src 'self'" in page["Content-Security-Policy"]
    (element,) = re.findall(r"<iframe[^>]*>", page.text)
    assert re.search(r" sandbox(?= |>)(?!=)", element)
    assert "srcdoc" not in element
    assert f'src="/queue/{message.public_id}/body/"' in element

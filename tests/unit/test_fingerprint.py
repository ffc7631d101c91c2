"""The fingerprint: published vectors, what it covers, and what does not matter to it."""

import json
from dataclasses import fields, replace
from pathlib import Path

from common.fingerprint import (
    FIELDS,
    Attachment,
    Content,
    fingerprint,
    normalise_address,
    short_fingerprint,
)

VECTORS = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "fingerprint_vectors.json").read_text()
)

CONTENT = Content(
    sender="support@yourteam.example",
    sender_name="Your Team Support",
    reply_to="help@yourteam.example",
    to=("dana@northwind.example",),
    cc=("lee@fabrikam.example",),
    bcc=("archive@yourteam.example",),
    subject="Your refund",
    markdown="Hello Dana",
    html="<p>Hello Dana</p>",
    in_reply_to="<1@northwind.example>",
    attachments=(Attachment("invoice.pdf", "application/pdf", 812, "ab" * 32),),
    additions={"signature": "The team"},
    send_at="2026-12-01T08:00:00Z",
)


def content_from(vector):
    fields = dict(vector["content"])
    fields["attachments"] = tuple(
        Attachment(**item) for item in fields.get("attachments", ())
    )
    return Content(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
    )


# Another value in each field.
OTHER = Content(
    sender="sales@yourteam.example",
    sender_name="Your Bank",
    to=("dana@northwind.example", "eve@evil.example"),
    bcc=("eve@evil.example",),
    subject="Your refund ",
    markdown="Hello  Dana",
    attachments=(Attachment("invoice.pdf", "application/pdf", 812, "ac" * 32),),
    additions={"signature": "The team", "auto_bcc": "eve@evil.example"},
    send_at="2026-12-01T08:00:01Z",
    coverage=tuple(name for name in FIELDS if name != "bcc"),
)


def test_fingerprint_of_a_published_vector_is_as_published():
    for vector in VECTORS:
        found = fingerprint(content_from(vector))
        assert (found, short_fingerprint(found)) == (
            vector["fingerprint"],
            vector["short"],
        ), vector["name"]


def test_fingerprint_changes_with_every_field():
    changes = [{field.name: getattr(OTHER, field.name)} for field in fields(Content)]
    changes.append(
        {"attachments": (replace(CONTENT.attachments[0], name="invoice.pdf.exe"),)}
    )
    assert [
        one
        for one in changes
        if fingerprint(replace(CONTENT, **one)) == fingerprint(CONTENT)
    ] == []


def test_fingerprint_ignores_order_and_case_of_domains_and_keeps_the_case_of_names():
    one = replace(CONTENT, to=("a@one.example", "b@two.example"))
    other = replace(CONTENT, to=("b@TWO.example", " a@one.example"))
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(replace(CONTENT, to=("Dana@x.example",))) != fingerprint(
        replace(CONTENT, to=("dana@x.example",))
    )


def test_address_keeps_what_stands_before_its_last_at_sign():
    forms = {
        "Dana@X.Example.": "Dana@x.example",
        '"A@B"@X.example': '"A@B"@x.example',
        " Nobody ": "Nobody",
    }
    assert {form: normalise_address(form) for form in forms} == forms


def test_uncovered_field_does_not_reach_the_hash():
    coverage = tuple(name for name in FIELDS if name != "bcc")
    assert fingerprint(replace(CONTENT, coverage=coverage)) == fingerprint(
        replace(CONTENT, coverage=coverage, bcc=("eve@evil.example",))
    )

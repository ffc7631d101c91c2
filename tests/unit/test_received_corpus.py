"""Mail as real programs write it, read by the parser's confined processes: each field
is what the table beside the mails states by hand.
"""

import hashlib
import re
import tomllib

import pytest

from gateway.inbound.receive import read_mail
from parsing.client import from_source
from rendering.texts import words_of
from tests.corpus import HERE

RECEIVED = HERE / "received"
RIGHT = tomllib.loads((RECEIVED / "right.toml").read_text())


def read(name):
    """Return what is read of a mail, by the names of the table, with its text and the
    words of its HTML.
    """
    content = (RECEIVED / f"{name}.eml").read_bytes()
    with from_source("corpus", stays=True):
        mail = read_mail(content, "192.0.2.1", "corpus")
    files = [
        f"{file.name} | {file.content_type} | {len(file.content)} | "
        + hashlib.sha256(file.content).hexdigest()[:8]
        for file in mail.files
    ]
    report = mail.report
    fields = {
        "sender": mail.sender,
        "name": mail.sender_name,
        "reply_to": mail.reply_to,
        "to": mail.to,
        "cc": mail.cc,
        "subject": mail.subject,
        "files": files,
        "automatic": mail.automatic,
        "message_id": mail.message_id,
        "report": report
        and [
            f"{one.action} {one.recipient} {one.status}".strip()
            for one in report.result
        ],
        "about": report and report.message_ids,
    }
    return fields, mail.text, mail.html


def differences(name, right):
    """Return each field of a mail that is not as its table states it."""
    fields, text, html = read(name)
    wrong = {}
    # Without a line in the table, a field is empty.
    stated = {"reply_to": [], "files": [], "automatic": "", "report": None} | right
    for field in fields.keys() & stated.keys():
        got = fields[field]
        if field == "files":
            # A file without a name in the mail gets any.
            got = [
                re.sub(r"^[^|]*", "* ", one) if two.startswith("* |") else one
                for one, two in zip(got, stated["files"], strict=False)
            ] + got[len(stated["files"]) :]
        if got != stated[field]:
            wrong[field] = got, stated[field]
    is_right = (
        text == right["text"]
        if "text" in right
        else text.startswith(right["begins"]) and text.endswith(right["ends"])
    )
    if not is_right:
        wrong["text"] = text, right.get("text") or (right["begins"], right["ends"])
    if (html is None) != ("html" not in right):
        wrong["html"] = html, right.get("html")
    words = " ".join(words_of(html or "").split())
    for one in right.get("html", []):
        if " ".join(one.split()) not in words:
            wrong["words of HTML"] = words, one
    return wrong


def check(names):
    wrong = {name: differences(name, RIGHT[name]) for name in names}
    assert {name: fields for name, fields in wrong.items() if fields} == {}


def test_mail_of_real_programs_is_read_as_stated():
    assert {path.stem for path in RECEIVED.glob("*.eml")} == {*RIGHT}
    check([*RIGHT][::10])


@pytest.mark.slow
def test_all_mail_of_real_programs_is_read_as_stated():
    check(RIGHT)

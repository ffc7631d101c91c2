"""What is written into a message is what a strict reader gets, whatever people write; and
a message that differs is found.
"""

import random
import sys
from email.headerregistry import Address
from email.message import EmailMessage

import pytest

from gateway.header_lines import POLICY
from gateway.messages.strict_reader import Approved, Differs, check, in_lines

PIECES = (
    "a Rechnung 3\xa0450\xa0€ ü € 日本語 é - =? ?= _ \" , ; <b> ( ) 🚀 ß İ .. 50% ' \\ * e\u0301 %41 utf-8''x"
).split(" ")
PIECES += ["  ", " ", "x" * 70, "5 × 30 €"]


def drawn(chance, most):
    pieces = (
        chance.choice(PIECES) + chance.choice(["", " "])
        for _ in range(chance.randint(1, most))
    )
    return "".join(pieces).strip()[:200].strip() or "x"


def written(subject, name, text, html, file_name):
    message = EmailMessage(policy=POLICY)
    message["From"] = Address(name, addr_spec="ana@acme.example")
    message["To"] = [Address(addr_spec="dana@northwind.example")]
    message["Subject"] = subject
    message.set_content(text, charset="utf-8")
    message.add_alternative(html, subtype="html", charset="utf-8")
    message.add_attachment(
        b"\x00\r\n.\r\n--b", maintype="image", subtype="png", filename=file_name
    )
    return message.as_bytes()


def approved(subject, name, text, html, file_name):
    return Approved(
        subject=subject,
        sender=[(name, "ana@acme.example")],
        to=["dana@northwind.example"],
        cc=[],
        text=in_lines(text),
        html=in_lines(html),
        files=[(file_name, b"\x00\r\n.\r\n--b", "")],
    )


def try_letters(number, seed):
    chance = random.Random(seed)
    for _ in range(number):
        subject, name, text, html = (drawn(chance, 25) for _ in range(4))
        parts = (subject, name, f"{text}\n.\n{text}", f"<p>{html}", drawn(chance, 6))
        check(written(*parts), approved(*parts))


def test_strict_reader_gets_what_was_written():
    try_letters(150, 1)
    # Names that begin and end with what a careless reader takes off.
    for name in ("<b>", '""', "<é>", '"é"', "'a'", "\\", 'a\\"b'):
        parts = ("x", "x", "x", "x", name)
        check(written(*parts), approved(*parts))


def test_message_that_differs_is_found():
    parts = ("3 450 € für März " * 5, "Ana, Ä", "We will not pay.", "<p>No", "ü.png")
    message = written(*parts)
    right = approved(*parts)
    check(message, right)
    for field, other in (
        ("subject", "3450 €"),
        ("sender", [("Ana", "eve@acme.example")]),
        ("text", "We will pay."),
        ("files", []),
    ):
        with pytest.raises(Differs, match=field):
            check(message, Approved(**{**vars(right), field: other}))
    for damaged in (message[:-60], message.replace(b"?= =?utf-8?b?", b"", 1)):
        with pytest.raises(Differs):
            check(damaged, right)


if __name__ == "__main__":
    try_letters(int(sys.argv[1]), int(sys.argv[2]))

"""Reads reports of mail servers: delivery notices (RFC 3464) and complaints (RFC 5965).
Runs in the parser only.
"""

import re
from email.message import Message
from itertools import islice

from common.mail_addresses import clean_address
from gateway.inbound.headers import ids_of, one_line
from gateway.inbound.received_mail import COMPLAINT, RecipientReport, Report

MAX_RECIPIENTS_REPORTED = 100
_MOST_TEXT = 500
# Of one block, one part's headers, and all parts together.
_MOST_FIELDS = 200
_MOST_HEADERS = 64 * 1024
_MOST_IDS = 10
_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
# Other feedback is no complaint: a recipient who calls mail wanted, or a server about a
# signature (RFC 6430, 6591).
_COMPLAINTS = frozenset({"abuse", "fraud", "opt-out", "virus", "other"})
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_MESSAGE_ID = re.compile(
    r"^message-id:\s*(<[!-;=?-~]{1,298}>)", re.IGNORECASE | re.MULTILINE
)
Fields = dict[str, list[str]]


def read_report(message: Message) -> Report | None:
    """Return the report in a message, which may name no recipient; None for any other
    mail.
    """
    if message.get_content_type() != "multipart/report" or not isinstance(
        message.get_payload(), list
    ):
        return None
    result: list[RecipientReport] = []
    senders: list[str] = []
    ids: list[str] = []
    envelope_id = ""
    is_report = False
    for part in _blocks(message):
        kind = part.get_content_type()
        blocks = _blocks(part)[: MAX_RECIPIENTS_REPORTED + 1]
        first = _fields(blocks[0]) if blocks else {}
        if kind == "message/delivery-status":
            is_report = True
            envelope_id = envelope_id or _first(first, "original-envelope-id")
            for block in blocks[1:]:
                fields = _fields(block)
                recipient = _address(_first(fields, "original-recipient"))
                recipient = recipient or _address(_first(fields, "final-recipient"))
                action = _first(fields, "action").lower()
                if not recipient or action not in _ACTIONS:
                    continue
                code = _STATUS.search(_first(fields, "status"))
                result.append(
                    RecipientReport(
                        recipient,
                        action,
                        code[0] if code else "",
                        _first(fields, "diagnostic-code"),
                    )
                )
        elif kind == "message/feedback-report" and blocks:
            is_report = True
            feedback = _first(first, "feedback-type")
            if feedback.lower() in _COMPLAINTS:
                recipients = first.get("original-rcpt-to", [])
                named = {_address(one) for one in recipients[:MAX_RECIPIENTS_REPORTED]}
                result += [
                    RecipientReport(one, COMPLAINT, "", feedback)
                    for one in sorted(named or {""})
                ]
            senders.append(_address(_first(first, "original-mail-from")))
        # Of the mail that a report brings back, whole or only its headers.
        elif kind == "message/rfc822" and blocks:
            ids += ids_of(blocks[0], "message-id")
        elif kind == "text/rfc822-headers":
            ids += _MESSAGE_ID.findall(str(part.get_payload())[:_MOST_HEADERS])
    if not is_report:
        return None
    return Report(
        tuple(result[:MAX_RECIPIENTS_REPORTED]),
        tuple(dict.fromkeys(ids[:_MOST_IDS])),
        tuple(filter(None, senders[:MAX_RECIPIENTS_REPORTED])),
        envelope_id,
    )


def _blocks(part: Message) -> list[Message]:
    inner = part.get_payload()
    if not isinstance(inner, list):
        return []
    return [one for one in inner if isinstance(one, Message)]


def _fields(block: Message) -> Fields:
    """Return the values of the first fields of a block, by their names in lower case."""
    found: Fields = {}
    for name, value in islice(block.raw_items(), _MOST_FIELDS):
        found.setdefault(name.lower(), []).append(
            one_line(str(value)[: _MOST_TEXT * 2])[:_MOST_TEXT]
        )
    return found


def _first(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[0]


def _address(text: str) -> str:
    """Return the address of a field such as `rfc822; ann@x.example`, as addresses are
    compared.
    """
    try:
        return clean_address(text.rpartition(";")[2].strip().strip("<>")).lower()
    except ValueError:
        return ""

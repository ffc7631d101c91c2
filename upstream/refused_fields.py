"""Finds the fields that a 422 of MultiMail refuses, so that the desk makes the call
again without them.

A hosted MultiMail may know fewer optional fields than our gateway, and then answers
with an error that names those it does not know. The form of that error is not
documented, so the names are looked for in its text. If a field is missed here, the call
ends with an error. If a field is found that was not refused, what a reviewer wrote is
dropped.

So a complaint about a field's value does not count. If the error has a `field`, its
code and text decide. Otherwise, if the text looks like one about a value, names of one
word, such as "reason", do not count; names with an underscore still do.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from common.unique_keys import Json

# The optional fields of each call.
OF_A_DECISION = (
    "decided_by",
    "ended_by",
    "expected_fingerprint",
    "reason",
    # Only our gateway knows these. The reason says the same in words.
    "suggested_markdown",
    "replaced_by",
    "changes",
)
OF_A_MESSAGE = ("oversight_mode", "replaces", "metadata")
OF_A_WEBHOOK = ("include_sandbox", "secret")
OF_A_MAILBOX = ("scheduling_enabled", "default_gate_timing", "allow_looser_per_call")
# In a sentence: the field is known, and its value is refused.
_VALUE_ERROR = re.compile(
    r"too (?:long|short|large)|at (?:most|least)|maximum|minimum|length|character|required|missing"
)
# In an error code: the field is not known. Other codes, such as our gateway's
# `invalid_field`, are about its value.
_UNKNOWN_FIELD = re.compile(
    r"unknown|unexpected|unrecogni|unsupported|extra|additional|permitted|allowed"
)
# Where a text names a field. Other words, as "reason", may be plain English. A word
# before an @ belongs to the address of a recipient.
_FIELD_NAME = re.compile(
    r"""
      \b(?=\w*_)(\w++)(?!@)  # a word with an underscore
    | ^(\w+)$                # the whole text
    | ["'`](\w+)["'`]        # a word in quotes
    | \b(?:field|property|parameter|key)s?:?[ ](\w++)(?!@)
    | [./:](\w++)(?!@)       # a part of a path
    """,
    re.VERBOSE,
)
# Characters of a text that are searched.
MAX_TEXT = 2_000
# How many levels of objects and lists in the answer are searched.
MAX_DEPTH = 8


def refused_fields(
    sent: Json, answer: Json, optional: Collection[str] = OF_A_DECISION
) -> tuple[str, ...]:
    """Return the optional fields in the request that the body of a 422 refuses.

    A reason that is too long or missing is not among them: the call must not be made
    again without what the reviewer wrote.
    """
    if isinstance(field := answer.get("field"), str):
        # The error names its field, so no other counts: its sentence may list all
        # known fields, or quote the message.
        is_about_text = _VALUE_ERROR.search(str(answer.get("error"))[:MAX_TEXT].lower())
        is_about_value = "code" in answer and not _UNKNOWN_FIELD.search(
            str(answer["code"])[:MAX_TEXT].lower()
        )
        is_optional = field in sent and field in optional
        return (
            (field,) if is_optional and not is_about_text and not is_about_value else ()
        )
    # An error may also repeat how the message was decided, as in `"decided_by": "Ana"`.
    # Such a value says nothing about the field.
    complaint = {
        key: value
        for key, value in answer.items()
        if key not in optional or not isinstance(value, str)
    }
    texts = list(_texts(complaint, sent, MAX_DEPTH))
    mentioned = {
        name
        for text in texts
        for match in _FIELD_NAME.finditer(text)
        for name in match.groups()
    }
    named = [name for name in optional if name in sent and name in mentioned]
    if any(_VALUE_ERROR.search(text.lower()) for text in texts):
        # "The reason is too long" is about the text of `reason`.
        named = [name for name in named if "_" in name]
    return tuple(named)


def _texts(value: Any, sent: Json, depth: int) -> Iterator[str]:
    """Yield the keys and texts in an answer, except those that repeat the request."""
    # Only a decision has an `email_id`. A text with it repeats the request as JSON, with
    # what the reviewer wrote.
    if isinstance(value, str) and '"email_id"' not in value:
        yield value[:MAX_TEXT]
    elif isinstance(value, Mapping) and depth:
        for key, inner in value.items():
            if key not in sent or inner != sent[key]:
                yield str(key)[:MAX_TEXT]
                yield from _texts(inner, sent, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _texts(inner, sent, depth - 1)

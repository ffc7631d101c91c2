"""Which fields of a call a 422 of MultiMail refuses: a host that knows fewer fields
than we send names them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

# What each call can do without; its other fields are the call itself.
OF_A_DECISION = (
    "decided_by",
    "expected_fingerprint",
    "reason",
    # Our gateway's, and in words a part of the reason too.
    "suggested_markdown",
    "replaced_by",
    "changes",
)
OF_A_MESSAGE = ("oversight_mode", "replaces", "metadata")
OF_A_WEBHOOK = ("include_sandbox", "secret")
OF_A_MAILBOX = ("scheduling_enabled", "default_gate_timing", "allow_looser_per_call")
# A complaint about the text of a field that the host knows.
_ABOUT_TEXT = re.compile(
    r"too (?:long|short|large)|at (?:most|least)|maximum|minimum|length|character|required|missing"
)
# A code that says that the host does not know a field. Others, as our gateway's
# invalid_field, are about its value.
_ABOUT_UNKNOWN = re.compile(
    r"unknown|unexpected|unrecogni|unsupported|extra|additional|permitted|allowed"
)
# What stands as the name of a field. One word, as "reason", is plain English too; what
# has an underscore is none, and with an @ behind it, it is an address of a recipient
# that is refused.
_NAMED = re.compile(
    r"""\b(?=\w*_)(\w++)(?!@)|^(\w+)$|["'`](\w+)["'`]"""
    r"""|\b(?:field|property|parameter|key)s?:? (\w++)(?!@)|[./:](\w++)(?!@)"""
)
MAX_DEPTH = 8


def refused_fields(
    sent: Mapping[str, Any],
    answer: Mapping[str, Any],
    optional: Collection[str] = OF_A_DECISION,
) -> tuple[str, ...]:
    """Return the optional fields of the request that the body of a 422 names.

    A reason that is too long or missing is not among them: the words of a reviewer are
    not dropped for that.
    """
    if isinstance(field := answer.get("field"), str):
        # It is about this one field. Its sentence may list the others, or quote the
        # message.
        is_about_text = _ABOUT_TEXT.search(str(answer.get("error")).lower())
        is_about_value = "code" in answer and not _ABOUT_UNKNOWN.search(
            str(answer["code"]).lower()
        )
        is_optional = field in sent and field in optional
        return (
            (field,) if is_optional and not is_about_text and not is_about_value else ()
        )
    # Beside its sentence an error may tell how the message was decided; that is no
    # complaint.
    complaint = {
        key: value
        for key, value in answer.items()
        if key not in optional or not isinstance(value, str)
    }
    texts = list(_texts(complaint, sent, MAX_DEPTH))
    found = {
        name
        for text in texts
        for match in _NAMED.finditer(text)
        for name in match.groups()
    }
    named = [name for name in optional if name in sent and name in found]
    if any(_ABOUT_TEXT.search(text.lower()) for text in texts):
        named = [name for name in named if "_" in name]
    return tuple(named)


def _texts(value: Any, sent: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Yield the texts of an answer and the names in it, without what only repeats the
    request.
    """
    if isinstance(value, str) and '"email_id"' not in value:
        yield value
    elif isinstance(value, Mapping) and depth:
        for key, inner in value.items():
            if key not in sent or inner != sent[key]:
                yield str(key)
                yield from _texts(inner, sent, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _texts(inner, sent, depth - 1)

"""Which fields of a decision a 422 of MultiMail refuses: a host that knows fewer fields than we send names them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# What a decision can do without; the other fields are the decision itself.
OPTIONAL = ("decided_by", "expected_fingerprint", "reason")
# A complaint about the text of a field that the host knows.
_ABOUT_TEXT = re.compile(
    r"too (?:long|short|large)|at (?:most|least)|maximum|minimum|length|character|required|missing"
)
# "Reason" is a word of plain English too, so that it has to stand as a name.
_NAMED = {
    "decided_by": re.compile(r"\bdecided_by\b"),
    "expected_fingerprint": re.compile(r"\bexpected_fingerprint\b"),
    "reason": re.compile(
        r"""^reason$|["'`]reason["'`]|\b(?:field|property|parameter|key)s?:? reason\b|[./:]reason\b"""
    ),
}
MAX_DEPTH = 8


def refused_fields(sent: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the optional fields of the request that the body of a 422 names.

    A reason that is too long or missing is not among them: the words of a reviewer are not dropped for that.
    """
    # Beside its sentence an error may tell how the message was decided; that is no complaint.
    complaint = {key: value for key, value in answer.items() if key not in OPTIONAL or not isinstance(value, str)}
    texts = list(_texts(complaint, sent, MAX_DEPTH))
    named = [name for name in OPTIONAL if name in sent and any(_NAMED[name].search(text) for text in texts)]
    if any(_ABOUT_TEXT.search(text.lower()) for text in texts):
        named = [name for name in named if name != "reason"]
    return tuple(named)


def _texts(value: Any, sent: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Yield the texts of an answer and the names in it, without what only repeats the request."""
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

"""Answers that differ from the documents in one point: the switch `alters` of
`temper.py`, by call.

    {"GET /v1/mailboxes/{}/emails": {"rows": {"emails": {"subject": null}}}}

`status` and `headers` replace those of the answer, `body` all of it. `fields` of the
object and `rows` of its arrays are set, or removed where they are null; `reversed` names
arrays. With `was` only answers of that status are changed.
"""

import re
from typing import Any

# Status, body and headers.
Answer = tuple[int, Any, dict[str, str]]


def altered(alters, call, answer):
    """Return the answer to a call as this host gives it."""
    status, body, headers = answer
    for pattern, how in alters.items():
        if not re.fullmatch(pattern.replace("{}", "[^/]+"), call) or answer[
            0
        ] != how.get("was", answer[0]):
            continue
        status = how.get("status", status)
        headers = headers | how.get("headers", {})
        if isinstance(body, dict):
            body = _set(body, how.get("fields", {}))
            for name, values in how.get("rows", {}).items():
                body[name] = [_set(row, values) for row in body.get(name, [])]
            body |= {name: body[name][::-1] for name in how.get("reversed", [])}
        body = how.get("body", body)
    return status, body, headers


def _set(found, values):
    return {
        name: value
        for name, value in (found | values).items()
        if values.get(name, "") is not None
    }

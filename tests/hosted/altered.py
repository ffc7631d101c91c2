"""Changes answers of the stand-in, so that they differ from the documents in one point.
The switch `alters` of `temper.py` says how, by method and path:

    {"GET /v1/mailboxes/{}/emails": {"rows": {"emails": {"subject": null}}}}

`status`, `headers` and `body` replace those of the answer. `fields` sets fields of the
object, and `rows` fields of the objects in its arrays; null removes a field. `reversed`
names arrays to reverse. With `was`, only answers with that status are changed.
"""

import re


def altered(alters, call, answer):
    """Return the answer to a call (method and path), with the changes for it."""
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


def _set(fields, values):
    return {
        name: value
        for name, value in (fields | values).items()
        if values.get(name, "") is not None
    }

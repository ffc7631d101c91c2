"""The OpenAPI document: what the docs page says about each call besides what the routes themselves declare."""

from typing import Any

from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from gateway.answers.base import Problem

ABOUT = (
    "A self-hosted email API for agents, compatible with MultiMail's. Held mail waits for a person.\n\n"
    "To try a call here, press Authorize and paste a key into BearerKey. Each call names the scope that its key needs. "
    "A key that begins with `mm_test_` is for trying out: nothing it sends leaves. `{mailbox}` is a mailbox's id or "
    "its address. Every error has `error`, a sentence, and `code`, a word for programs."
)

# In the order of the docs page.
GROUPS = {
    "send": "Send, reply, and change what is scheduled.",
    "messages": (
        "Read mail of both directions, its threads and tags; take back what has not left. "
        "The bytes of a file are at `…/attachments/{name}`."
    ),
    "flat": "The same in one path a verb, for chat commands and tools. Each path works without `/v1` too.",
    "oversight": "What waits for a person, the decision, and the codes that loosen a mailbox.",
    "zapier": "The paths that Zapier's app calls, and reports of spam, by a message's id alone.",
    "allowlists": "Whom a mailbox may write to, and who was refused.",
    "recipients": "Contacts, and addresses that are not written to because mail to them bounced or was called spam.",
    "webhooks": "Subscriptions to events, their secrets, and how each delivery went.",
    "account": "The account, its mailboxes, keys and domains, and who did what.",
    "usage": "How much was sent and received.",
    "health": "Whether the gateway works; needs no key.",
}

# What goes wrong with any call, and what the status means here, in place of its name in HTTP.
STATUSES = {
    400: "The body cannot be read, or the request makes no sense.",
    401: "No key, or not a good one.",
    403: "The key may not do this, or a rule forbids it.",
    404: "No such thing in this account, or not for this key.",
    409: "The state does not allow it; `code` says why.",
    413: "More bytes than are taken.",
    422: "A field is missing or wrong; `field` names it.",
    429: "Too much; wait as many seconds as `Retry-After` says.",
    503: "The database is away; try again.",
}

EXTRA = {"tags": [{"name": name, "description": text} for name, text in GROUPS.items()]}


class Document(OpenAPISchema):
    """Opens each call with what it does, and says which scope its key needs."""

    def operation_details(self, operation: Operation) -> dict[str, Any]:
        """Return one call of the document."""
        told: dict[str, Any] = super().operation_details(operation)
        about = str(told.get("description", ""))
        # The first sentence says more on the closed row than the name of a function.
        first, _, more = about.partition(". ")
        told["summary"] = first.rstrip(".").replace("`", "")
        told["description"] = " ".join(part for part in (more, _needed(operation)) if part)
        return told

    def responses(self, operation: Operation) -> dict[int, Any]:
        """Return the answers of one call, by status: its good ones, and the errors that every call can give."""
        told: dict[int, Any] = super().responses(operation)
        # Declared with each route, they would cost the process a model a status a route: some 25 MB.
        problem = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        return told | {status: {"description": meaning, **problem} for status, meaning in STATUSES.items()}

    def get_components(self) -> dict[str, Any]:
        """Return the shapes that the calls refer to."""
        told: dict[str, Any] = super().get_components()
        told["schemas"]["Problem"] = Problem.model_json_schema()
        return told


def _needed(operation: Operation) -> str:
    checks = operation.auth_callbacks or []
    if not checks:
        return "Needs no key."
    scopes = [f"`{scope}`" for scope in getattr(checks[0], "scopes", ())]
    return f"Needs a key with the scope {' or '.join(scopes)}." if scopes else "Any key will do."

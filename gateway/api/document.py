"""The OpenAPI document: what the docs page says about each call besides what the routes themselves declare."""

from typing import Any

from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

ABOUT = (
    "A self-hosted email API for agents, compatible with MultiMail's. Held mail waits for a person.\n\n"
    "To try a call here, press Authorize and paste a key into BearerKey. Each call names the scope that its key needs. "
    "A key that begins with `mm_test_` is for trying out: nothing it sends leaves. `{mailbox}` is a mailbox's id or "
    "its address. Every error has `error`, a sentence, and `code`, a word for programs."
)

# In the order of the docs page.
GROUPS = {
    "send": "Send, reply, and change what is scheduled.",
    "messages": "Read mail of both directions, its files, threads and tags; take back what has not left.",
    "flat": "The same in one path a verb, for chat commands and tools. Each path works without `/v1` too.",
    "oversight": "What waits for a person, the decision, and the codes that loosen a mailbox.",
    "allowlists": "Whom a mailbox may write to, and who was refused.",
    "recipients": "Contacts, and addresses that are not written to because mail to them bounced.",
    "webhooks": "Subscriptions to events, their secrets, and how each delivery went.",
    "account": "The account, its mailboxes, keys and domains, and who did what.",
    "usage": "How much was sent and received.",
    "health": "Whether the gateway works; needs no key.",
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
        told["summary"] = first.rstrip(".")
        told["description"] = " ".join(part for part in (more, _needed(operation)) if part)
        return told


def _needed(operation: Operation) -> str:
    checks = operation.auth_callbacks or []
    if not checks:
        return "Needs no key."
    scopes = [f"`{scope}`" for scope in getattr(checks[0], "scopes", ())]
    return f"Needs a key with the scope {' or '.join(scopes)}." if scopes else "Any key will do."

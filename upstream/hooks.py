"""Webhooks of an account with the log of what was sent to them. docs/multimail.md, Webhooks."""

from typing import Any

from upstream.admin import Administration, part
from upstream.mailboxes import rows_in


class Hooks(Administration):
    """MultiMail's API with an admin key, for subscriptions."""

    def list_webhooks(self) -> list[dict[str, Any]]:
        """Read every subscription, without secrets."""
        return rows_in(self.ask("GET", "/v1/webhooks"), "webhooks", "subscriptions")

    def create_webhook(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Subscribe an address to events. Not idempotent; the answer holds the signing secret."""
        return self.ask("POST", "/v1/webhooks", body=wanted)

    def give_new_secret(self, webhook_id: str, *, overlap_s: int) -> dict[str, Any]:
        """Have MultiMail make another secret, which signs alone after so many seconds (our gateway)."""
        return self.ask("POST", f"/v1/webhooks/{part(webhook_id)}/rotate", body={"overlap_s": overlap_s})

    def list_deliveries(self, *, webhook_id: str = "", cursor: str = "") -> tuple[list[dict[str, Any]], str]:
        """Read one page of what was sent, newest first, and the cursor of the next page."""
        asked = {"webhook_id": webhook_id, "cursor": cursor, "limit": "50"}
        answer = self.ask("GET", "/v1/webhook-deliveries", params={name: text for name, text in asked.items() if text})
        return rows_in(answer, "deliveries"), str(answer.get("cursor") or "")

    def replay_delivery(self, delivery_id: str) -> dict[str, Any]:
        """Send a finished delivery again: the same bytes under the same event id (our gateway)."""
        return self.ask("POST", f"/v1/webhook-deliveries/{part(delivery_id)}/replay")

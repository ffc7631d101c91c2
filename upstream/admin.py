"""Calls that MultiMail takes from an admin key: webhooks of the account, and what further modules add to it.

Each call has one time for all of it, because somebody waits for it on a page.
"""

from typing import Any
from urllib.parse import quote

from common.exchange import Deadline
from upstream.client import Client

MAX_LIST = 8 * 1024 * 1024


class Administration(Client):
    """MultiMail's API with an admin key. Every call answers with the JSON object, or raises an error of upstream."""

    def __init__(self, *, base_url: str, key: str, within: float) -> None:
        super().__init__(base_url=base_url, key=key)
        self._within = within

    def ask(
        self, method: str, path: str, *, params: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make one call. Parts of `path` that come from elsewhere go through `part` first."""
        deadline = Deadline.after(self._within)
        return self._call(method, path, params=params, body=body, limit=MAX_LIST, deadline=deadline)[0]

    def register_webhook(self, *, url: str, events: list[str], secret: str) -> dict[str, Any]:
        """Subscribe an address to events of the whole account. Contract section 6.1."""
        return self.ask("POST", "/v1/webhooks", body={"url": url, "events": events, "secret": secret})

    def read_webhook(self, webhook_id: str) -> dict[str, Any]:
        """Read one subscription; the answer holds its secret."""
        return self.ask("GET", f"/v1/webhooks/{part(webhook_id)}")

    def test_webhook(self, webhook_id: str) -> dict[str, Any]:
        """Have one signed event sent that is about no message, and return its delivery."""
        return self.ask("POST", f"/v1/webhooks/{part(webhook_id)}/test")

    def rotate_webhook(self, webhook_id: str, *, secret: str, overlap_s: int) -> dict[str, Any]:
        """Give a subscription another secret, which signs alone after so many seconds (our gateway)."""
        return self.ask(
            "POST", f"/v1/webhooks/{part(webhook_id)}/rotate", body={"secret": secret, "overlap_s": overlap_s}
        )

    def delete_webhook(self, webhook_id: str) -> dict[str, Any]:
        """End a subscription."""
        return self.ask("DELETE", f"/v1/webhooks/{part(webhook_id)}")


def part(text: str) -> str:
    """Return `text` as one segment of a path."""
    return quote(text, safe="")

"""Mailboxes of an account as MultiMail keeps them, and requests for a looser oversight mode.

docs/multimail.md, Mailboxes and oversight modes, has the rules.
"""

from typing import Any

from upstream import errors
from upstream.admin import Administration, part


class Mailboxes(Administration):
    """MultiMail's API for mailboxes. A read key may list them; all else takes an admin key."""

    def list_mailboxes(self) -> list[dict[str, Any]]:
        """Read every mailbox that the key may use."""
        return rows_in(self.ask("GET", "/v1/mailboxes"), "mailboxes")

    def create_mailbox(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Make a mailbox. Not idempotent: after an unknown outcome, list before asking again."""
        return self.ask("POST", "/v1/mailboxes", body=wanted)

    def change_mailbox(self, mailbox_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change settings; a stricter oversight mode is one of them, a looser one is refused."""
        return self.ask("PATCH", f"/v1/mailboxes/{part(mailbox_id)}", body=changes)

    def delete_mailbox(self, mailbox_id: str) -> dict[str, Any]:
        """Delete a mailbox for good; what waits in it is cancelled."""
        return self.ask("DELETE", f"/v1/mailboxes/{part(mailbox_id)}")

    def list_upgrade_requests(self) -> list[dict[str, Any]]:
        """Read which looser modes were asked for, with the codes that allow them (our gateway)."""
        return rows_in(self.ask("GET", "/v1/upgrade-requests"), "requests")

    def request_upgrade(self, mailbox_id: str, *, target_mode: str) -> dict[str, Any]:
        """Ask for a looser mode. An older wish of the mailbox ends by this, and three an hour are taken."""
        return self.ask("POST", f"/v1/mailboxes/{part(mailbox_id)}/request-upgrade", body={"target_mode": target_mode})

    def upgrade(self, mailbox_id: str, *, code: str) -> dict[str, Any]:
        """Loosen the mode as the wish says that this code is for."""
        return self.ask("POST", f"/v1/mailboxes/{part(mailbox_id)}/upgrade", body={"code": code})


def rows_in(answer: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    """Return the rows of a list under the first of these names. Raises OutcomeUnknown where there is none."""
    found = next((answer[name] for name in names if isinstance(answer.get(name), list)), None)
    if found is None:
        raise errors.OutcomeUnknown("MultiMail's list has a form that this version cannot read.")
    return [row for row in found if isinstance(row, dict) and row.get("id")]

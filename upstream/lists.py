"""Allowlists as MultiMail keeps them at its gate, and what they kept out. docs/multimail.md, Allowlists at the gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from upstream import errors
from upstream.admin import Administration, part


@dataclass(frozen=True)
class ListAtGate:
    """One list as the gate has it. `waits_for` is what it says while an operator has to confirm a change."""

    mode: str
    version: int
    entries: tuple[Mapping[str, Any], ...]
    waits_for: str = ""


class Lists(Administration):
    """MultiMail's API with an admin key, for allowlists. For refusals an oversight key is enough."""

    def read_allowlist(self, *, mailbox_id: str, kind: str) -> ListAtGate:
        """Read one list of a mailbox."""
        return _list_in(self.ask("GET", f"/v1/mailboxes/{part(mailbox_id)}/allowlist", params={"kind": kind}))

    def replace_allowlist(
        self,
        *,
        mailbox_id: str,
        kind: str,
        mode: str,
        version: int,
        entries: list[dict[str, Any]],
        approval_code: str = "",
    ) -> ListAtGate:
        """Replace one list whole, if it still is at `version`. Raises Conflict where it is not."""
        body: dict[str, Any] = {"kind": kind, "mode": mode, "version": version, "entries": entries}
        if approval_code:
            body["approval_code"] = approval_code
        answer = self.ask("PUT", f"/v1/mailboxes/{part(mailbox_id)}/allowlist", body=body)
        if answer.get("status") == "pending_approval":
            said = str(answer.get("message") or "An operator has to confirm this.")
            return ListAtGate(mode="", version=version, entries=(), waits_for=said[:300])
        return _list_in(answer)

    def list_refusals(self, *, cursor: str = "") -> tuple[list[dict[str, Any]], str]:
        """Read one page of what restrictions kept out, newest first, and the cursor of the next page."""
        params = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
        answer = self.ask("GET", "/v1/refusals", params=params)
        rows = answer.get("refusals")
        if not isinstance(rows, list):
            raise errors.OutcomeUnknown("MultiMail's list of refusals has a form that this version cannot read.")
        return [row for row in rows if isinstance(row, dict)], str(answer.get("cursor") or "")


def _list_in(answer: Mapping[str, Any]) -> ListAtGate:
    mode, version, entries = answer.get("mode"), answer.get("version"), answer.get("entries")
    if not isinstance(mode, str) or not isinstance(version, int) or not isinstance(entries, list):
        raise errors.OutcomeUnknown("MultiMail's answer about an allowlist cannot be read.")
    return ListAtGate(mode=mode, version=version, entries=tuple(one for one in entries if isinstance(one, dict)))

"""Calls that MultiMail takes from an admin key: webhooks, mailboxes, domains, API keys
and allowlists of an account.

Each call has one time for all of it, because somebody waits for it on a page. None is
repeated: after an unknown outcome of one that makes something, whoever asked lists
first. What they mean: docs/multimail.md.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from common.exchange import Deadline
from upstream import errors
from upstream.client import Client, Json, path, rows_in
from upstream.refused_fields import OF_A_MAILBOX, OF_A_WEBHOOK

MAX_LIST = 8 * 1024 * 1024


@dataclass(frozen=True)
class ListAtGate:
    """One list as the gate has it. `waits_for` is what it says while an operator has to
    confirm a change.
    """

    mode: str
    version: int
    entries: tuple[Mapping[str, Any], ...]
    waits_for: str = ""


class AdminClient(Client):
    """MultiMail's API with an admin key; a read key may list mailboxes, an oversight
    key refusals.

    Every call answers with the JSON object, or raises an error of upstream.
    """

    def __init__(
        self, *, base_url: str, key: str, within: float, approval_code: str = ""
    ) -> None:
        """`approval_code` is an operator's code for the change that this client asks
        for.
        """
        super().__init__(base_url=base_url, key=key)
        self._within = within
        self._approval = {"approval_code": approval_code} if approval_code else {}

    def ask(
        self,
        method: str,
        template: str,
        *parts: str,
        params: dict[str, str] | None = None,
        body: Json | None = None,
        optional: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Json:
        """Make one call to the path that `template` and its parts make.

        `optional` names fields and parameters that the call can do without, and
        `without` what MultiMail has refused here. Raises FieldsRefused for more of
        those.
        """
        left_out = set(optional) & set(without)
        params = params and {
            name: text for name, text in params.items() if name not in left_out
        }
        body = body and {
            name: value for name, value in body.items() if name not in left_out
        }
        if self._approval and method == "DELETE":
            # In the address: not everything on the way lets a DELETE have a body.
            params = (params or {}) | self._approval
        elif self._approval and method != "GET":
            body = (body or {}) | self._approval
        return self._call(
            method,
            path(template, *parts),
            params=params,
            body=body,
            optional=optional,
            limit=MAX_LIST,
            deadline=Deadline.after(self._within),
        )

    def _rows(self, target: str, *names: str) -> list[Json]:
        rows = rows_in(self.ask("GET", target), *names, what="list")
        return [row for row in rows if isinstance(row, dict) and row.get("id")]

    def _page(
        self,
        target: str,
        name: str,
        params: dict[str, str],
        without: Collection[str] = (),
    ) -> tuple[list[Json], str]:
        """Return one page of a list, newest first, and the cursor of the next page."""
        params = {key: text for key, text in params.items() if text}
        answer = self.ask(
            "GET", target, params=params, optional=("webhook_id",), without=without
        )
        rows = [
            row
            for row in rows_in(answer, name, what=f"list of {name}")
            if isinstance(row, dict)
        ]
        return rows, str(answer.get("cursor") or "")

    def list_audit_log(self) -> list[Json]:
        """Read the newest hundred entries of MultiMail's audit log."""
        return self._page("/v1/audit-log", "entries", {"limit": "100"})[0]

    # --- webhooks ---------------------------------------------------------------------

    def list_webhooks(self) -> list[Json]:
        """Read every subscription, without secrets."""
        return self._rows("/v1/webhooks", "webhooks", "subscriptions")

    def create_webhook(self, wanted: Json, *, without: Collection[str] = ()) -> Json:
        """Subscribe an address to events of the whole account; the answer holds the
        signing secret.
        """
        return self.ask(
            "POST", "/v1/webhooks", body=wanted, optional=OF_A_WEBHOOK, without=without
        )

    def read_webhook(self, webhook_id: str) -> Json:
        """Read one subscription; the answer holds its secret."""
        return self.ask("GET", "/v1/webhooks/{}", webhook_id)

    def test_webhook(self, webhook_id: str) -> Json:
        """Have one signed event sent that is about no message, and return its delivery."""
        return self.ask("POST", "/v1/webhooks/{}/test", webhook_id)

    def rotate_webhook(
        self, webhook_id: str, *, overlap_s: int, secret: str = ""
    ) -> Json:
        """Give a subscription this secret, or one that our gateway makes; it signs
        alone after so many seconds.
        """
        body = {"overlap_s": overlap_s} | ({"secret": secret} if secret else {})
        return self.ask("POST", "/v1/webhooks/{}/rotate", webhook_id, body=body)

    def delete_webhook(self, webhook_id: str) -> Json:
        """End a subscription."""
        return self.ask("DELETE", "/v1/webhooks/{}", webhook_id)

    def list_deliveries(
        self, *, webhook_id: str = "", cursor: str = "", without: Collection[str] = ()
    ) -> tuple[list[Json], str]:
        """Read one page of what was sent, newest first, and the cursor of the next
        page.
        """
        params = {"webhook_id": webhook_id, "cursor": cursor, "limit": "50"}
        rows, more = self._page("/v1/webhook-deliveries", "deliveries", params, without)
        return [row for row in rows if row.get("id")], more

    def replay_delivery(self, delivery_id: str) -> Json:
        """Send a finished delivery again: the same bytes under the same event id (our
        gateway).
        """
        return self.ask("POST", "/v1/webhook-deliveries/{}/replay", delivery_id)

    # --- mailboxes --------------------------------------------------------------------

    def list_mailboxes(self) -> list[Json]:
        """Read every mailbox that the key may use."""
        return self._rows("/v1/mailboxes", "mailboxes")

    def create_mailbox(self, wanted: Json) -> Json:
        """Make a mailbox."""
        return self.ask("POST", "/v1/mailboxes", body=wanted)

    def change_mailbox(
        self, mailbox_id: str, changes: Json, *, without: Collection[str] = ()
    ) -> Json:
        """Change settings; a stricter oversight mode is one of them, a looser one is
        refused.
        """
        return self.ask(
            "PATCH",
            "/v1/mailboxes/{}",
            mailbox_id,
            body=changes,
            optional=OF_A_MAILBOX,
            without=without,
        )

    def delete_mailbox(self, mailbox_id: str) -> Json:
        """Delete a mailbox for good; what waits in it is cancelled."""
        return self.ask("DELETE", "/v1/mailboxes/{}", mailbox_id)

    def list_upgrade_requests(self) -> list[Json]:
        """Read which looser modes were asked for, with the codes that allow them (our
        gateway).
        """
        return self._rows("/v1/upgrade-requests", "requests")

    def request_upgrade(self, mailbox_id: str, *, target_mode: str) -> Json:
        """Ask for a looser mode. An older request of the mailbox ends by this, and
        three an hour are taken.
        """
        return self.ask(
            "POST",
            "/v1/mailboxes/{}/request-upgrade",
            mailbox_id,
            body={"target_mode": target_mode},
        )

    def upgrade(self, mailbox_id: str, *, code: str) -> Json:
        """Loosen the mode as the request says that this code is for."""
        return self.ask(
            "POST", "/v1/mailboxes/{}/upgrade", mailbox_id, body={"code": code}
        )

    # --- domains ----------------------------------------------------------------------

    def list_domains(self) -> list[Json]:
        """Read every domain with its records, and what DNS said of each when it was
        last asked.
        """
        return self._rows("/v1/domains", "domains")

    def add_domain(self, name: str) -> Json:
        """Add a domain. Asked again it is a conflict, and changes nothing."""
        return self.ask("POST", "/v1/domains", body={"domain": name})

    def verify_domain(self, domain_id: str) -> Json:
        """Have each record looked up in DNS, and return the domain with a sentence."""
        return self.ask("POST", "/v1/domains/{}/verify", domain_id)

    def rotate_dkim(self, domain_id: str) -> Json:
        """Have another DKIM key made (our gateway)."""
        return self.ask("POST", "/v1/domains/{}/rotate-dkim", domain_id)

    def delete_domain(self, domain_id: str) -> Json:
        """Remove a domain."""
        return self.ask("DELETE", "/v1/domains/{}", domain_id)

    # --- API keys: a key's text is in the answer that makes it and nowhere else -------

    def list_keys(self) -> list[Json]:
        """Read all keys of the account, revoked ones too."""
        return self._rows("/v1/api-keys", "api_keys", "keys")

    def create_key(self, wanted: Json) -> Json:
        """Make a key."""
        return self.ask("POST", "/v1/api-keys", body=wanted)

    def change_key(self, key_id: str, changes: Json) -> Json:
        """Change name, scopes or mailboxes of a key."""
        return self.ask("PATCH", "/v1/api-keys/{}", key_id, body=changes)

    def revoke_key(self, key_id: str) -> Json:
        """Revoke a key at once."""
        return self.ask("DELETE", "/v1/api-keys/{}", key_id)

    # --- allowlists at the gate -------------------------------------------------------

    def read_allowlist(self, *, mailbox_id: str, kind: str) -> ListAtGate:
        """Read one list of a mailbox. Raises NotFound or FieldsRefused where lists are
        not replaced as a whole.
        """
        answer = self.ask(
            "GET",
            "/v1/mailboxes/{}/allowlist",
            mailbox_id,
            params={"kind": kind},
            optional=("kind",),
        )
        if "entries" in answer and "version" not in answer:
            raise errors.NotFound("MultiMail has its allowlists in another form.")
        return _list_in(answer)

    def replace_allowlist(self, mailbox_id: str, wanted: Json) -> ListAtGate:
        """Replace one list whole: its `kind`, `mode` and `entries`, if it still is at
        `version`. Raises Conflict where it is not.
        """
        answer = self.ask("PUT", "/v1/mailboxes/{}/allowlist", mailbox_id, body=wanted)
        if answer.get("status") == "pending_approval":
            message = str(answer.get("message") or "An operator has to confirm this.")
            return ListAtGate(
                mode="",
                version=wanted["version"],
                entries=(),
                waits_for=message[:300],
            )
        return _list_in(answer)

    def list_refusals(self, *, cursor: str = "") -> tuple[list[Json], str]:
        """Read one page of what restrictions kept out, newest first, and the cursor of
        the next page.
        """
        return self._page(
            "/v1/refusals", "refusals", {"limit": "100", "cursor": cursor}
        )


def _list_in(answer: Mapping[str, Any]) -> ListAtGate:
    mode = answer.get("mode")
    version = answer.get("version")
    entries = answer.get("entries")
    if (
        not isinstance(mode, str)
        or not isinstance(version, int)
        or not isinstance(entries, list)
    ):
        raise errors.OutcomeUnknown(
            "MultiMail's answer about an allowlist cannot be read."
        )
    return ListAtGate(
        mode=mode,
        version=version,
        entries=tuple(one for one in entries if isinstance(one, dict)),
    )

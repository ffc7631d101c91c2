"""Calls of MultiMail's API that need an admin key: the webhooks, mailboxes, API keys
and allowlists of an account. docs/multimail.md describes them.

Each call has one time limit in total, because a person waits for it on a page. No call
is repeated. If a call that creates something has an unknown outcome, the caller must
list what exists before it tries again.
"""

from collections.abc import Collection
from dataclasses import dataclass

from common.exchange import Deadline
from common.unique_keys import Json, text_in
from upstream import errors
from upstream.client import Client, path, rows_in
from upstream.refused_fields import OF_A_MAILBOX, OF_A_WEBHOOK

# The longest answer, in bytes.
MAX_LIST = 8 * 1024 * 1024


@dataclass(frozen=True)
class ListAtGate:
    """One allowlist of a mailbox as MultiMail has it."""

    mode: str
    version: int
    entries: tuple[Json, ...]


class AdminClient(Client):
    """MultiMail's API with an admin key. A read key may also list mailboxes, and an
    oversight key may list refusals.

    Every call returns the JSON object of the answer, or raises an error of
    upstream.errors.
    """

    def __init__(
        self, *, base_url: str, key: str, within: float, approval_code: str = ""
    ) -> None:
        """`within`: the seconds for each call. `approval_code`: an operator's code that
        confirms the change for which this client is made.
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
        """Make one call. Its path is `template`, filled in with `parts`. `optional` and
        `without` are as in `_call`.
        """
        if self._approval and method == "DELETE":
            # As a parameter: some proxies do not pass on the body of a DELETE.
            params = (params or {}) | self._approval
        elif self._approval and method != "GET":
            body = (body or {}) | self._approval
        return self._call(
            method,
            path(template, *parts),
            params=params,
            body=body,
            optional=optional,
            without=without,
            limit=MAX_LIST,
            deadline=Deadline.after(self._within),
        )

    def _rows(self, target: str, *names: str) -> list[Json]:
        rows = self._pages(target, names, "list", within=self._within)
        # A host that ignores cursors repeats its rows.
        return list({str(row["id"]): row for row in rows if row.get("id")}.values())

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
        rows = rows_in(answer, name, what=f"list of {name}")
        return rows, text_in(answer, "cursor")

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
        """Have our gateway send one signed test event, which is about no message.
        Return its delivery.
        """
        return self.ask("POST", "/v1/webhooks/{}/test", webhook_id)

    def rotate_webhook(
        self, webhook_id: str, *, overlap_s: int, secret: str = ""
    ) -> Json:
        """Give a subscription at our gateway a new secret: this one, or one that the
        gateway makes. For `overlap_s` seconds, it still signs with the old one.
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
        """Change settings of a mailbox. MultiMail accepts a stricter oversight mode
        here, and refuses a looser one.
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
        """Delete a mailbox for good. Messages that wait in it are cancelled."""
        return self.ask("DELETE", "/v1/mailboxes/{}", mailbox_id)

    def list_upgrade_requests(self) -> list[Json]:
        """Read the requests for looser oversight modes, with the codes that allow them
        (our gateway only).
        """
        return self._rows("/v1/upgrade-requests", "requests")

    def request_upgrade(self, mailbox_id: str, *, target_mode: str) -> Json:
        """Ask for a looser oversight mode. This ends an older request of the mailbox.
        MultiMail accepts three requests an hour.
        """
        return self.ask(
            "POST",
            "/v1/mailboxes/{}/request-upgrade",
            mailbox_id,
            body={"target_mode": target_mode},
        )

    def upgrade(self, mailbox_id: str, *, code: str) -> Json:
        """Loosen the oversight mode to the one of the request that has this code."""
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
        """Read one allowlist of a mailbox. Raises NotFound or FieldsRefused if this
        MultiMail does not let a list be replaced as a whole.
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
        """Replace a whole allowlist. `wanted` has its `kind`, `mode` and `entries`, and
        the `version` that was read. Raises Conflict if the list has changed since,
        and Forbidden if an operator would have to confirm it.
        """
        answer = self.ask("PUT", "/v1/mailboxes/{}/allowlist", mailbox_id, body=wanted)
        if answer.get("status") == "pending_approval":
            raise errors.Forbidden(
                "An operator has to confirm it with a code, because this admin key may also send. Use one that may not."
            )
        return _list_in(answer)

    def list_refusals(self, *, cursor: str) -> tuple[list[Json], str]:
        """Read one page of the messages that a restriction refused, newest first.
        Return it with the cursor of the next page.
        """
        return self._page(
            "/v1/refusals", "refusals", {"limit": "100", "cursor": cursor}
        )


# Returns the allowlist in an answer.
def _list_in(answer: Json) -> ListAtGate:
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

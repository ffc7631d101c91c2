"""API keys of an account: listing, making, limiting and revoking them. docs/multimail.md, Accounts and keys."""

from typing import Any

from upstream.admin import Administration, part
from upstream.mailboxes import rows_in


class Keys(Administration):
    """MultiMail's API with an admin key, for keys. A key's text is in the answer that makes it and nowhere else."""

    def list_keys(self) -> list[dict[str, Any]]:
        """Read all keys of the account, revoked ones too."""
        return rows_in(self.ask("GET", "/v1/api-keys"), "api_keys", "keys")

    def create_key(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Make a key. Not idempotent: each call makes another."""
        return self.ask("POST", "/v1/api-keys", body=wanted)

    def change_key(self, key_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change name, scopes or mailboxes of a key."""
        return self.ask("PATCH", f"/v1/api-keys/{part(key_id)}", body=changes)

    def revoke_key(self, key_id: str, *, approval_code: str = "") -> dict[str, Any]:
        """Revoke a key at once."""
        # In the address: not everything on the way lets a DELETE have a body.
        params = {"approval_code": approval_code} if approval_code else None
        return self.ask("DELETE", f"/v1/api-keys/{part(key_id)}", params=params)

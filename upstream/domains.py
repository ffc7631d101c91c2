"""Domains of an account, and what their owners put into DNS."""

from typing import Any

from upstream.admin import Administration, part
from upstream.mailboxes import rows_in


class Domains(Administration):
    """MultiMail's API with an admin key, for domains."""

    def list_domains(self) -> list[dict[str, Any]]:
        """Read every domain with its records, and what DNS said of each when it was last asked."""
        return rows_in(self.ask("GET", "/v1/domains"), "domains")

    def add_domain(self, name: str) -> dict[str, Any]:
        """Add a domain. Asked again it is a conflict, and changes nothing."""
        return self.ask("POST", "/v1/domains", body={"domain": name})

    def verify_domain(self, domain_id: str) -> dict[str, Any]:
        """Have each record looked up in DNS, and return the domain with a sentence."""
        return self.ask("POST", f"/v1/domains/{part(domain_id)}/verify")

    def rotate_dkim(self, domain_id: str) -> dict[str, Any]:
        """Have another DKIM key made (our gateway)."""
        return self.ask("POST", f"/v1/domains/{part(domain_id)}/rotate-dkim")

    def delete_domain(self, domain_id: str) -> dict[str, Any]:
        """Remove a domain."""
        return self.ask("DELETE", f"/v1/domains/{part(domain_id)}")

"""Domains of an account: what to put into DNS for each, adding one, having it looked
up, and removing it; and the pages for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django import forms
from django.urls import reverse_lazy

from common.actors import Actor
from common.pages import VERBATIM, DrawnForm
from connections.changes import (
    ChangeRefused,
    check_admin,
    in_words,
    read_account,
    record_change,
    request_change,
    text_in,
)
from connections.pages import AccountsView, AccountView
from mirror.models import Connection
from people.second_admin.registry import CanWait, second_admin
from people.sign_in.resource_views import ActionView
from upstream.admin import AdminClient
from upstream.events import read_time

# DNS is slow, and MultiMail queries it during the call.
_request = partial(request_change, failed="domain.change_failed", within=15.0)


@dataclass(frozen=True)
class DnsRecord:
    """One record to put into DNS; `problem` says what DNS has instead, if that is
    known.
    """

    type: str
    name: str
    value: str
    purpose: str
    verified: bool
    problem: str
    priority: str


@dataclass(frozen=True)
class Domain:
    """A domain of the account. Mailboxes can be made under it once it is active."""

    id: str
    name: str
    is_active: bool
    records: tuple[DnsRecord, ...]
    looked_at: datetime | None


def read_domains(connection: Connection, *, actor: Actor) -> list[Domain]:
    """Read the domains of an account. Raises ActNotAllowed, ChangeRefused,
    ChangeUnknown.
    """
    rows = read_account(
        connection, actor, AdminClient.list_domains, may="see its domains"
    )
    return sorted(map(_domain, rows), key=lambda one: one.name)


@second_admin("Domain", calls_multimail=True)
def add_domain(*, connection: Connection, actor: Actor, name: str) -> CanWait[Domain]:
    """Add a domain; it is pending until DNS proves it. Raises as read_domains."""
    check_admin(actor, connection, may="add domains to it")
    yield lambda: in_words(connection, "add a domain", page="domains", name=name)
    answer = _request(
        connection,
        actor,
        lambda admin: admin.add_domain(name),
        what=f"add the domain {name}",
    )
    record_change("domain.added", connection, actor, before="", after=name)
    return _domain(answer)


def verify_domain(*, connection: Connection, actor: Actor, domain_id: str) -> str:
    """Check its records in DNS, and return a sentence that says what was found. Raises
    as read_domains.
    """
    check_admin(actor, connection, may="check its domains")
    answer = _request(
        connection,
        actor,
        lambda admin: admin.verify_domain(domain_id),
        what="check the DNS records of a domain",
    )
    domain = _domain(answer)
    record_change(
        "domain.verified" if domain.is_active else "domain.looked_up",
        connection,
        actor,
        name=domain.name,
    )
    # The page shows the problem of each record, so MultiMail's message is for what it
    # could not check.
    message = str(answer.get("message", ""))
    if message and not any(record.problem for record in domain.records):
        return message
    verified = sum(record.verified for record in domain.records)
    return f"Checked {domain.name}: {verified} of {len(domain.records)} DNS records are verified."


@second_admin("Domain", calls_multimail=True)
def rotate_dkim(
    *, connection: Connection, actor: Actor, domain_id: str
) -> CanWait[None]:
    """Make another key, which signs once it is in DNS (our gateway). Raises as
    read_domains.
    """
    check_admin(actor, connection, may="change what signs its mail")
    did = "rotate the DKIM key of a domain"
    yield lambda: in_words(connection, did, page="domains", domain_id=domain_id)
    answer = _request(
        connection,
        actor,
        lambda admin: admin.rotate_dkim(domain_id),
        what="rotate a DKIM key",
    )
    record_change(
        "domain.dkim_rotated",
        connection,
        actor,
        before="its DKIM keys",
        after=f"another key for {_domain(answer).name}",
    )


@second_admin("Domain", calls_multimail=True)
def delete_domain(
    *, connection: Connection, actor: Actor, domain_id: str
) -> CanWait[str]:
    """Remove a domain, and return its name. Raises as read_domains, and also if it has
    mailboxes.
    """
    check_admin(actor, connection, may="remove its domains")
    # The ledger gets the name that MultiMail returns, not the one in the form.
    known = {one.id: one.name for one in read_domains(connection, actor=actor)}
    if domain_id not in known:
        raise ChangeRefused("The account no longer has this domain.")
    name = known[domain_id]
    yield lambda: in_words(connection, "remove a domain", page="domains", domain=name)
    _request(
        connection,
        actor,
        lambda admin: admin.delete_domain(domain_id),
        what=f"remove the domain {name}",
    )
    record_change("domain.removed", connection, actor, before=name, after="")
    return name


def _domain(row: Mapping[str, Any]) -> Domain:
    listed = row.get("dns_records")
    if isinstance(listed, dict):
        # MultiMail's OpenAPI document has an object here, without saying what is in it.
        listed = [
            {"purpose": name, **one}
            for name, one in listed.items()
            if isinstance(one, dict)
        ]
    records = [
        DnsRecord(
            type=text_in(one, "type"),
            name=text_in(one, "name"),
            value=text_in(one, "value"),
            purpose=text_in(one, "purpose"),
            verified=bool(one.get("verified")),
            problem=text_in(one, "problem"),
            priority=text_in(one, "priority", most=5),
        )
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict)
    ]
    return Domain(
        id=text_in(row, "id"),
        name=text_in(row, "domain", most=253),
        is_active=row.get("status") == "active",
        records=tuple(records),
        looked_at=read_time(row.get("looked_at")),
    )


class DomainForm(DrawnForm):
    """A domain to add. MultiMail decides whether it is available."""

    domain = forms.CharField(
        label="Add a domain",
        max_length=253,
        widget=forms.TextInput({**VERBATIM, "placeholder": "example.com"}),
        error_messages={"required": "Enter a domain, such as example.com."},
    )


class DomainList(AccountsView):
    """Lists the domains of each account, with the records of each. If a domain could
    not be added to an account, its form shows what was typed.
    """

    template_name = "connections/domains.html"
    read = staticmethod(read_domains)

    def shown(self, connection: Connection, found: list[Domain]) -> dict[str, Any]:
        typed = None
        if connection.pk == self.kwargs.get("connection_id"):
            typed = self.request.POST if "domain" in self.request.POST else None
        form = DomainForm(typed, auto_id=f"domain-{connection.pk}-%s")
        return {"domains": found, "form": form}


class DomainAction(ActionView, AccountView, DomainList):
    """Changes a domain of an account."""

    success_url = reverse_lazy("domains")


class AddDomain(DomainAction):
    form_class = DomainForm

    def change(self, form: DomainForm) -> str:
        name = form.cleaned_data["domain"]
        made = add_domain(**self.command_arguments, name=name)
        return f"{made.name} was added. Publish its records in DNS, then check them."


class VerifyDomain(DomainAction):
    """Checks the records of a domain in DNS."""

    is_sensitive = False

    def change(self, form: Any) -> str:
        return verify_domain(
            **self.command_arguments, domain_id=self.kwargs["domain_id"]
        )


class RotateDkim(DomainAction):
    """Replaces the DKIM key."""

    def change(self, form: Any) -> str:
        rotate_dkim(**self.command_arguments, domain_id=self.kwargs["domain_id"])
        return "A new DKIM key was created. Publish its record in DNS, then check it. The old key signs until then."


class DeleteDomain(DomainAction):
    def change(self, form: Any) -> str:
        name = delete_domain(
            **self.command_arguments,
            domain_id=self.kwargs["domain_id"],
        )
        return f"{name} was removed."

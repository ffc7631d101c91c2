"""Answers about domains."""

from gateway.answers.base import Answer


class DnsRecord(Answer):
    """One record to put into DNS."""

    type: str
    name: str
    value: str
    purpose: str
    verified: bool
    problem: str | None


class DomainAnswer(Answer):
    """One domain."""

    id: str
    domain: str
    status: str
    dkim_verified: bool
    spf_verified: bool
    dmarc_verified: bool
    mx_verified: bool
    return_path_verified: bool
    dns_records: list[DnsRecord]
    created_at: str
    verified_at: str | None
    looked_at: str | None


class DomainLookedAt(DomainAnswer):
    """One domain, and what DNS says of it."""

    message: str


class Domains(Answer):
    """All domains of the account."""

    domains: list[DomainAnswer]

"""Domains of the account: an address can be given to a mailbox only under one that is
active.
"""

from typing import Annotated, Any

from django.http import JsonResponse
from ninja import Router
from pydantic import AfterValidator, Field

from gateway.api.answers import Answer, Changed
from gateway.api.bodies import Body, example
from gateway.auth import ADMIN, KeyedRequest
from gateway.domains import registration
from gateway.domains.dns_records import DMARC, MX, OWNERSHIP, SPF, records_of
from gateway.domains.registration import clean_domain
from gateway.lookups import check_unlimited, first_or_404
from gateway.models import ApiKey, Domain
from gateway.timestamps import iso


class DomainIn(Body):
    """A domain to claim."""

    model_config = example({"domain": "mail.example.com"})

    domain: Annotated[str, AfterValidator(clean_domain), Field(max_length=300)]


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


def domain_json(row: Domain) -> dict[str, Any]:
    """Return a domain with its records, and what DNS said of each when it was last
    asked.
    """
    records = []
    for record in records_of(row):
        is_proved = record.key == OWNERSHIP and row.status == Domain.Status.ACTIVE
        shown = {
            "type": record.type,
            "name": record.name,
            "value": record.value,
            "purpose": record.purpose,
            "verified": row.is_right(record.key) or is_proved,
            "problem": row.dns_problems.get(record.key) or None,
        }
        if record.type == "MX":
            shown["priority"] = 10
        records.append(shown)
    return {
        "id": row.pk,
        "domain": row.domain,
        "status": row.status,
        "dkim_verified": any(
            key.verified_at and not key.retired_at for key in row.dkim_keys.all()
        ),
        "spf_verified": row.is_right(SPF),
        "dmarc_verified": row.is_right(DMARC),
        "mx_verified": row.is_right(MX),
        # The envelope sender is of the domain itself.
        "return_path_verified": row.is_right(SPF),
        "dns_records": records,
        "created_at": iso(row.created_at),
        "verified_at": iso(row.verified_at),
        "looked_at": iso(row.looked_at),
    }


router = Router(tags=["account"])


@router.get("/domains", auth=ADMIN, response=Domains)
def list_domains(request: KeyedRequest) -> JsonResponse:
    """List the account's domains."""
    check_unlimited(request.auth)
    return JsonResponse(
        {
            "domains": [
                domain_json(row) for row in Domain.objects.visible_to(request.auth)
            ]
        }
    )


@router.post("/domains", auth=ADMIN, response={201: DomainAnswer})
def create_domain(request: KeyedRequest, body: DomainIn) -> JsonResponse:
    """Claim a domain. It is pending until `dns_records` are set and it is verified."""
    made = registration.add_domain(key=request.auth, name=body.domain)
    return JsonResponse(domain_json(made), status=201)


@router.get("/domains/{domain_id}", auth=ADMIN, response=DomainAnswer)
def read_domain(request: KeyedRequest, domain_id: str) -> JsonResponse:
    """Read one domain."""
    return JsonResponse(domain_json(_domain_named(request.auth, domain_id)))


@router.post("/domains/{domain_id}/verify", auth=ADMIN, response=DomainLookedAt)
def verify_domain(request: KeyedRequest, domain_id: str) -> JsonResponse:
    """Look each of `dns_records` up in DNS. `status` says whether the proof was found,
    `problem` what is wrong.
    """
    domain = _domain_named(request.auth, domain_id)
    message = registration.verify_domain(key=request.auth, domain=domain)
    return JsonResponse(domain_json(domain) | {"message": message})


@router.post("/domains/{domain_id}/rotate-dkim", auth=ADMIN, response=DomainAnswer)
def rotate_dkim(request: KeyedRequest, domain_id: str) -> JsonResponse:
    """Make another DKIM key. The old one signs until the new one is in DNS and the
    domain verified again.
    """
    domain = _domain_named(request.auth, domain_id)
    return JsonResponse(
        domain_json(registration.rotate_key(key=request.auth, domain=domain))
    )


@router.delete("/domains/{domain_id}", auth=ADMIN, response=Changed)
def delete_domain(request: KeyedRequest, domain_id: str) -> JsonResponse:
    """Give a domain back. 409 while mailboxes live under it."""
    domain = _domain_named(request.auth, domain_id)
    registration.remove_domain(key=request.auth, domain=domain)
    return JsonResponse({"id": domain_id, "status": "deleted"})


def _domain_named(key: ApiKey, domain_id: str) -> Domain:
    check_unlimited(key)
    return first_or_404(Domain.objects.visible_to(key).filter(pk=domain_id), "domain")

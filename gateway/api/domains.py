"""Domains of the account: an address can be given to a mailbox only under one that is active."""

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import domain_shapes, domains
from gateway.answers.base import Changed, answer, documented
from gateway.answers.domains import DomainAnswer, DomainLookedAt, Domains
from gateway.auth import KeyedRequest, needs
from gateway.errors import NotFound
from gateway.lookups import check_unlimited
from gateway.models import ApiKey, Domain
from gateway.models.accounts import Scope
from gateway.schemas.domains import DomainIn

router = Router(tags=["account"])


@router.get("/domains", auth=needs(Scope.ADMIN), response=documented(Domains))
def list_domains(request: KeyedRequest) -> HttpResponse:
    """List the account's domains."""
    check_unlimited(request.auth)
    return answer({"domains": [domain_shapes.domain(row) for row in Domain.objects.visible_to(request.auth)]})


@router.post("/domains", auth=needs(Scope.ADMIN), response=documented(DomainAnswer, status=201))
def create_domain(request: KeyedRequest, body: DomainIn) -> HttpResponse:
    """Claim a domain. It is pending until `dns_records` are set and it is verified."""
    made = domains.add_domain(key=request.auth, name=body.domain, now=timezone.now())
    return answer(domain_shapes.domain(made), status=201)


@router.get("/domains/{domain_id}", auth=needs(Scope.ADMIN), response=documented(DomainAnswer))
def read_domain(request: KeyedRequest, domain_id: str) -> HttpResponse:
    """Read one domain."""
    return answer(domain_shapes.domain(_domain_named(request.auth, domain_id)))


@router.post("/domains/{domain_id}/verify", auth=needs(Scope.ADMIN), response=documented(DomainLookedAt))
def verify_domain(request: KeyedRequest, domain_id: str) -> HttpResponse:
    """Look each of `dns_records` up in DNS. `status` says whether the proof was found, `problem` what is wrong."""
    domain = _domain_named(request.auth, domain_id)
    seen = domains.verify_domain(key=request.auth, domain=domain, now=timezone.now())
    return answer(domain_shapes.domain(seen.domain) | {"message": seen.message})


@router.post("/domains/{domain_id}/rotate-dkim", auth=needs(Scope.ADMIN), response=documented(DomainAnswer))
def rotate_dkim(request: KeyedRequest, domain_id: str) -> HttpResponse:
    """Make another DKIM key. The old one signs until the new one is in DNS and the domain verified again."""
    domain = _domain_named(request.auth, domain_id)
    return answer(domain_shapes.domain(domains.rotate_key(key=request.auth, domain=domain, now=timezone.now())))


@router.delete("/domains/{domain_id}", auth=needs(Scope.ADMIN), response=documented(Changed))
def delete_domain(request: KeyedRequest, domain_id: str) -> HttpResponse:
    """Give a domain back. 409 while mailboxes live under it."""
    domain = _domain_named(request.auth, domain_id)
    domains.remove_domain(key=request.auth, domain=domain)
    return answer({"id": domain_id, "status": "deleted"})


def _domain_named(key: ApiKey, domain_id: str) -> Domain:
    check_unlimited(key)
    domain = Domain.objects.visible_to(key).filter(pk=domain_id).first()
    if domain is None:
        raise NotFound("There is no such domain in this account.")
    return domain

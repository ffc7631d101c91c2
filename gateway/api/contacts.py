"""Contacts. Live and sandbox keys see the same ones, as they see the same mailboxes."""

from typing import Annotated, Any

from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field

from common.patterns import comparable_text
from gateway import contacts, paging
from gateway.answers.base import answer, documented
from gateway.answers.recipients import ContactAnswer, ContactDeleted, Contacts
from gateway.auth import KeyedRequest, needs
from gateway.errors import NotFound
from gateway.lookups import bare_address, mailbox_named
from gateway.models import Contact
from gateway.models.accounts import Scope
from gateway.schemas.contacts import ContactIn
from gateway.timestamps import epoch_milliseconds

router = Router(tags=["recipients"])


class ContactFilters(BaseModel):
    """The parameters of the list. Clients that know no pages send no limit, so a page without one is large."""

    q: Annotated[str, Field(max_length=200)] = ""
    query: Annotated[str, Field(max_length=200)] = ""
    mailbox: Annotated[str, Field(max_length=320)] = ""
    limit: str = ""
    cursor: str = ""

    def text(self) -> str:
        """Return what to search for; a whole address in the form in which contacts keep it."""
        return comparable_text((self.q or self.query).strip())

    def page_size(self) -> int:
        """Return how many rows a page has."""
        return paging.clamp(self.limit, default=500, most=1000)


@router.get("/contacts", auth=needs(Scope.READ), response=documented(Contacts))
def list_contacts(request: KeyedRequest, filters: Query[ContactFilters]) -> HttpResponse:
    """List contacts, newest first: those whose name or address holds `q` (or `query`), or that carry it as a tag."""
    rows = Contact.objects.visible_to(request.auth)
    if filters.mailbox:
        rows = rows.used_by(mailbox_named(request.auth, bare_address(filters.mailbox)))
    if text := filters.text():
        rows = rows.matching(text)
    if before := paging.read_cursor(filters.cursor):
        rows = rows.filter(pk__lt=before)
    size = filters.page_size()
    page, following = paging.cut(list(rows[: size + 1]), size)
    return answer({"contacts": [_contact(contact) for contact in page], "cursor": following})


@router.post("/contacts", auth=needs(Scope.SEND), response=documented(ContactAnswer, status=201))
def create_contact(request: KeyedRequest, body: ContactIn) -> HttpResponse:
    """Add a contact. An address is a contact once; 409 names the one there is."""
    name = body.names_mailbox()
    mailbox = mailbox_named(request.auth, bare_address(name)) if name else None
    contact = contacts.add_contact(
        key=request.auth, email=body.email, name=(body.name or "").strip(), tags=body.tags, mailbox=mailbox
    )
    return answer(_contact(contact), status=201)


@router.delete("/contacts/{contact_id}", auth=needs(Scope.ADMIN, Scope.SEND), response=documented(ContactDeleted))
def delete_contact(request: KeyedRequest, contact_id: str) -> HttpResponse:
    """Remove a contact."""
    contact = Contact.objects.visible_to(request.auth).filter(pk=contact_id).first()
    if contact is None:
        raise NotFound("There is no such contact in this account.")
    contacts.remove_contact(key=request.auth, contact=contact)
    return answer({"id": contact.pk, "deleted": True})


def _contact(contact: Contact) -> dict[str, Any]:
    return {
        "id": contact.pk,
        "name": contact.name,
        "email": contact.email,
        "tags": contact.tags,
        "mailbox": contact.mailbox.address if contact.mailbox else None,
        "mailbox_id": contact.mailbox_id,
        "created_at": epoch_milliseconds(contact.created_at),
    }

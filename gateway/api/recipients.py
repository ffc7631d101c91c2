"""Routes of contacts and of suppressed addresses, and the page on which a recipient
unsubscribes. Live and sandbox keys share contacts, as they share mailboxes.
"""

from typing import Annotated

from annotated_types import Len
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.html import format_html
from ninja import Query, Router
from pydantic import AfterValidator, BeforeValidator, Field

from common.mail_addresses import comparable_text
from common.unique_keys import Json
from gateway import contacts, suppression
from gateway.api.answers import (
    Answer,
    Changed,
    Epoch,
    Iso,
    LongPageFilters,
    Page,
    page_of,
)
from gateway.api.bodies import (
    Address,
    Body,
    Line,
    MailboxName,
    ShortLine,
    ShortText,
    example,
)
from gateway.auth import ADMIN, READ, BearerKey, KeyedRequest
from gateway.errors import NotFound
from gateway.lookups import bare_address, first_or_404, mailbox_named
from gateway.models import Contact, Scope, Suppression
from gateway.suppression import email_of_token, unsubscribe

MAX_TAGS = 50


def _tags(value: object) -> object:
    """Return tags as a list, from each of the forms that tags of messages have: a list,
    a text with commas, or an object, whose names are the tags.
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, dict) or value is None:
        return list(value or ())
    return value


def _few(tags: list[str]) -> list[str]:
    tags = list(dict.fromkeys(tags))
    if len(tags) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags.")
    return tags


class ContactIn(Body):
    """A contact to add. Without a name the address is the name."""

    model_config = example(
        {"name": "Jane Doe", "email": "jane@example.org", "tags": ["customer"]}
    )

    email: Address
    name: ShortLine | None = None
    tags: Annotated[
        list[Annotated[Line, Len(1, 100)]], AfterValidator(_few), BeforeValidator(_tags)
    ] = Field(default_factory=list)
    mailbox: MailboxName | None = None
    mailbox_id: MailboxName | None = None


class ContactAnswer(Answer):
    """Somebody the account knows; `created_at` is in milliseconds since 1970. If a key
    that sends added them (`by_sender`), no restriction lets them through.
    """

    id: str
    name: str
    email: str
    tags: list[str]
    # A mailbox is written as its address.
    mailbox: Annotated[
        str | None, BeforeValidator(lambda mailbox: mailbox and str(mailbox))
    ]
    mailbox_id: str | None
    by_sender: bool
    created_at: Epoch


class Contacts(Page):
    """A page of contacts."""

    contacts: list[ContactAnswer]


class SuppressionAnswer(Answer):
    """An address to which nothing is sent any more."""

    id: str
    email_address: str
    reason: str
    mailbox_id: str | None
    created_at: Iso


class Suppressions(Page):
    """A page of suppressed addresses."""

    suppressions: list[SuppressionAnswer]


router = Router(tags=["recipients"])


class ContactFilters(LongPageFilters):
    """The parameters of the list of contacts. Clients that do not page send no limit,
    so a page without one is large.
    """

    q: ShortText = ""
    query: ShortText = ""
    mailbox: MailboxName = ""


@router.get("/contacts", auth=READ, response=Contacts)
def list_contacts(request: KeyedRequest, filters: Query[ContactFilters]) -> Json:
    """List contacts, newest first: those whose name or address holds `q` (or `query`),
    or that carry it as a tag.
    """
    rows = Contact.objects.visible_to(request.auth)
    if filters.mailbox:
        rows = rows.used_by(mailbox_named(request.auth, bare_address(filters.mailbox)))
    # Contacts store addresses in the form that comparable_text returns.
    if text := comparable_text((filters.q or filters.query).strip()):
        rows = rows.matching(text)
    return page_of(rows, "contacts", ContactAnswer.of, filters)


@router.post(
    "/contacts", auth=BearerKey(Scope.ADMIN, Scope.SEND), response={201: ContactAnswer}
)
def create_contact(request: KeyedRequest, body: ContactIn) -> JsonResponse:
    """Add a contact. If the address is a contact already, 409 names that contact."""
    name = body.mailbox or body.mailbox_id
    mailbox = mailbox_named(request.auth, bare_address(name)) if name else None
    contact = contacts.add_contact(
        request.auth,
        Contact(
            email=body.email,
            name=(body.name or "").strip(),
            tags=body.tags,
            mailbox=mailbox,
        ),
    )
    return JsonResponse(ContactAnswer.of(contact), status=201)


@router.delete(
    "/contacts/{contact_id}", auth=BearerKey(Scope.ADMIN, Scope.SEND), response=Answer
)
def delete_contact(request: KeyedRequest, contact_id: str) -> Json:
    """Remove a contact."""
    contact = first_or_404(
        Contact.objects.visible_to(request.auth).filter(pk=contact_id), "contact"
    )
    contacts.remove_contact(request.auth, contact)
    return {"id": contact.pk, "deleted": True}


@router.get(
    "/suppression", auth=BearerKey(Scope.READ, Scope.SEND), response=Suppressions
)
def list_suppressions(request: KeyedRequest, filters: Query[LongPageFilters]) -> Json:
    """List suppressed addresses, newest first. Mail to one is refused until it is taken
    off the list.
    """
    rows = Suppression.objects.applying_to(request.auth)
    return page_of(rows, "suppressions", SuppressionAnswer.of, filters)


@router.delete("/suppression/{path:address}", auth=ADMIN, response=Changed)
def lift_suppression(request: KeyedRequest, address: str) -> Json:
    """Take an address off the list, so that it is written to again. It may be
    percent-encoded or not.
    """
    suppressed = (
        Suppression.objects.visible_to(request.auth)
        .filter(email_address=comparable_text(address))
        .first()
    )
    if not suppressed:
        raise NotFound("This address is not suppressed.")
    suppression.lift(request.auth, suppressed)
    return {
        "id": suppressed.pk,
        "email_address": suppressed.email_address,
        "status": "removed",
    }


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>Unsubscribe</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
main {{ max-width: 32rem; margin: 15vh auto 0; padding: 0 1.25rem; overflow-wrap: anywhere }}
h1 {{ font-size: 1.4rem }}
button {{ font: inherit; padding: .6rem 1.2rem }}
</style>
</head>
<body><main>{}</main></body>
</html>
"""
_ASK = """<h1>Unsubscribe</h1>
<p>Should {} get no more mail from {}?</p>
<form method="post"><button>Unsubscribe</button></form>"""
_DONE = """<h1>You are unsubscribed</h1>
<p>{} will get no more mail from {}.</p>"""


# Programs that check mail for dangerous links open them, so opening the page changes
# nothing.
@router.get("/unsubscribe/{token}", include_in_schema=False)
def show(request: HttpRequest, token: str) -> HttpResponse:
    """Show the page with its one button."""
    email = email_of_token(token)
    return _page(format_html(_ASK, email.to[0], email.account.name))


@router.post("/unsubscribe/{token}", include_in_schema=False)
def submit(request: HttpRequest, token: str) -> HttpResponse:
    """Unsubscribe: the page's button, or one click in a mail program. The body is not
    read.
    """
    email = email_of_token(token)
    unsubscribe(email)
    return _page(format_html(_DONE, email.to[0], email.account.name))


def _page(content: str) -> HttpResponse:
    page = HttpResponse(format_html(_PAGE, content))
    page["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    )
    # The address of the page is the permission to unsubscribe.
    page["Referrer-Policy"] = "no-referrer"
    return page

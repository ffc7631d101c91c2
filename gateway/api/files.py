"""Attached files: their bytes, with a key or by a link that needs none."""

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.utils.http import content_disposition_header
from ninja import Router

from gateway import file_links
from gateway.answers.base import answer, documented
from gateway.answers.files import FileLink
from gateway.auth import KeyedRequest, needs
from gateway.errors import NotFound
from gateway.lookups import email_named, mailbox_named
from gateway.models import Attachment, Email
from gateway.models.accounts import Scope
from gateway.reading import check_may_read
from gateway.states import AWAITING_DECISION

router = Router(tags=["messages"])

_FILE = "/mailboxes/{mailbox}/emails/{email}/attachments/{path:name}"


# Before the route of the bytes, which would take this suffix for a part of the name.
@router.get(_FILE + "/url", auth=needs(Scope.READ), response=documented(FileLink))
def link_to_file(request: KeyedRequest, mailbox: str, email: str, name: str) -> HttpResponse:
    """Get a link to one file that works for an hour and needs no key."""
    file = _find(request, mailbox, email, name, unless=f"{name}/url")
    if file.name != name:
        return _bytes(file)
    token = quote(file_links.link_token(key=request.auth, file=file))
    told = {
        "url": request.build_absolute_uri(f"/v1/files/{token}"),
        "filename": file.name,
        "size_bytes": file.size,
        "content_type": file.content_type,
        "expires_in": file_links.LASTS,
    }
    return answer(told)


@router.get(_FILE, auth=needs(Scope.READ), include_in_schema=False)
def read_file(request: KeyedRequest, mailbox: str, email: str, name: str) -> HttpResponse:
    """Get the bytes of one file."""
    return _bytes(_find(request, mailbox, email, name))


@router.get(
    "/oversight/pending/{email}/attachments/{path:name}",
    auth=needs(Scope.OVERSIGHT, Scope.OVERSIGHT_READ),
    include_in_schema=False,
)
def read_held_file(request: KeyedRequest, email: str, name: str) -> HttpResponse:
    """Get the bytes of one file of a message that waits: whoever decides may read what they decide on."""
    found = email_named(request.auth, email)
    if found.status not in AWAITING_DECISION:
        raise NotFound("This message is not held any more. Its files are read with a key that has the scope read.")
    return _bytes(_named(found, name))


@router.get("/files/{token}", auth=None, include_in_schema=False)
def read_file_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Get the bytes of the file that a link leads to."""
    return _bytes(file_links.file_of_token(token))


def _find(request: KeyedRequest, mailbox: str, email: str, name: str, *, unless: str = "") -> Attachment:
    """Return the file of this name; where there is none, the one called `unless`."""
    found = email_named(request.auth, email, mailbox=mailbox_named(request.auth, mailbox))
    check_may_read(request.auth, found)
    return _named(found, name, unless=unless)


def _named(email: Email, name: str, *, unless: str = "") -> Attachment:
    files = {file.name: file for file in email.attachments.all()}
    file = files.get(name) or files.get(unless)
    if file is None:
        raise NotFound("This message has no file of that name.")
    return file


def _bytes(file: Attachment) -> HttpResponse:
    response = HttpResponse(bytes(file.content), content_type=file.content_type)
    # Written by a stranger or an agent: never shown by a browser as a page of this host.
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=file.name)
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response

"""Tags of a message, each a word with a value."""

from django.http import HttpResponse
from ninja import Router

from gateway import tagging
from gateway.answers.base import answer, documented
from gateway.answers.tags import TagDeleted, Tags
from gateway.auth import KeyedRequest, needs
from gateway.lookups import email_named, mailbox_named
from gateway.models import Email
from gateway.models.accounts import Scope
from gateway.schemas.tags import FlatTagsIn, TagsIn

router = Router(tags=["messages"])

_TAGS = "/mailboxes/{mailbox}/emails/{email}/tags"


@router.get(_TAGS, auth=needs(Scope.READ), response=documented(Tags))
def read_tags(request: KeyedRequest, mailbox: str, email: str) -> HttpResponse:
    """Get the tags of a message."""
    return answer({"tags": _email(request, mailbox, email).tags})


@router.put(_TAGS, auth=needs(Scope.SEND), response=documented(Tags))
def write_tags(request: KeyedRequest, mailbox: str, email: str, body: TagsIn) -> HttpResponse:
    """Add tags to a message; those of the same name are overwritten, all others stay."""
    found = _email(request, mailbox, email)
    return answer({"tags": tagging.add_tags(key=request.auth, email=found, tags=body.tags)})


@router.delete(_TAGS + "/{path:name}", auth=needs(Scope.SEND), response=documented(TagDeleted))
def delete_tag(request: KeyedRequest, mailbox: str, email: str, name: str) -> HttpResponse:
    """Take one tag away; its name may hold slashes."""
    found = _email(request, mailbox, email)
    return answer({"deleted": tagging.drop_tag(key=request.auth, email=found, name=name)})


def tag_flat(request: KeyedRequest, body: FlatTagsIn) -> HttpResponse:
    """Add tags to a message, by its id alone; the answer lists their names."""
    return tag_by_id(request, body.names_email(), body)


def tag_by_id(request: KeyedRequest, email: str, body: TagsIn | FlatTagsIn) -> HttpResponse:
    """Add tags to the message of this id; the answer lists their names."""
    found = email_named(request.auth, email)
    tags = tagging.add_tags(key=request.auth, email=found, tags=body.tags)
    ids = {"id": found.pk, "email_id": found.pk, "message_id": found.pk}
    return answer(ids | {"tags": list(tags), "tag_map": tags})


def _email(request: KeyedRequest, mailbox: str, email: str) -> Email:
    return email_named(request.auth, email, mailbox=mailbox_named(request.auth, mailbox))

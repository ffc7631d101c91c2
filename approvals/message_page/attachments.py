"""The files of a letter: the panel that lists them, each shown in a frame of its own, and each handed out as it is.

Nothing here is fetched from MultiMail, and nothing is ever handed out as what a browser would open by itself.
"""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe

from approvals.decisions.unread_parts import key_of, links_key, note_opened_part
from approvals.message_page.forms import PartForm
from approvals.message_page.opened_parts import files_context, unread_context
from approvals.message_page.views import find_message, is_ahead_of_reading
from common.pages import DeskRequest
from mirror.attachments.preview import document_of
from mirror.models import AttachedFile, Message
from rendering import stripped


@login_required
@require_safe
def files(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """The panel of files, as it is now."""
    message = find_message(request.actor, public_id)
    return render(request, "approvals/_attachments.html", files_context(message, request.actor))


@login_required
@require_safe
def file_view(request: DeskRequest, public_id: UUID, place: int) -> HttpResponse:
    """Show one file in a frame under which nothing loads and nothing acts; or say why it is not shown."""
    message = find_message(request.actor, public_id)
    file = _find(message, place)
    _note(request, message, file, "looked at")
    response = HttpResponse(document_of(file))
    response["Content-Disposition"] = "inline"
    response.is_mail_frame = True  # type: ignore[attr-defined]
    return response


@login_required
@require_safe
def file_download(request: DeskRequest, public_id: UUID, place: int) -> HttpResponse:
    """Hand out the bytes of one file, as a file to keep and never as a page."""
    message = find_message(request.actor, public_id)
    file = _find(message, place)
    if file.content is None:
        raise Http404("This file's bytes are not here.")
    _note(request, message, file, "downloaded")
    response = HttpResponse(bytes(file.content), content_type="application/octet-stream")
    # Whoever keeps it must not get a name that reads as another one.
    name = stripped(file.name).strip() or "file"
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    response.is_mail_frame = True  # type: ignore[attr-defined]
    return response


@login_required
@require_safe
def unread(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """The words beside the decision that name what was not opened, as they are now."""
    message = find_message(request.actor, public_id)
    return render(request, "approvals/_unread.html", unread_context(message, request.actor))


@login_required
@require_POST
def part_opened(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Note that the links of this version were on the person's screen, which only the page itself can tell."""
    message = find_message(request.actor, public_id)
    if PartForm(request.POST).is_valid() and message.revision_id is not None:
        note_opened_part(message, key=links_key(message), actor=request.actor)
    return HttpResponse(status=204)


def _find(message: Message, place: int) -> AttachedFile:
    file = AttachedFile.objects.filter(revision=message.revision_id, place=place).first()
    if file is None:
        raise Http404("This message has no such file.")
    return file


def _note(request: DeskRequest, message: Message, file: AttachedFile, how: str) -> None:
    """Only bytes that were really handed to somebody count as opened."""
    if request.method == "HEAD" or is_ahead_of_reading(request) or file.content is None:
        return
    details = {"file": file.name[:300], "sha256": file.found_sha256, "how": how}
    note_opened_part(
        message,
        key=key_of(file),
        actor=request.actor,
        action="attachment.served",
        details=details,
        # Who keeps a copy takes it out of the desk.
        each_time=how == "downloaded",
    )

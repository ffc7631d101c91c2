"""Views of one message's content: its tabs (rendered, text, source …), the framed HTML,
attached files, the thread, and past verdicts.

Stored content is shown. Only the source tab may ask our gateway for the original of
simplified HTML. Files are served as previews that the desk made, or as a download.
"""

from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import reswap, retarget

from approvals.decisions.ruling import passages_for_rules
from approvals.decisions.shown import (
    attached_files,
    key_of,
    links_key,
    note_opened_part,
    note_served,
    opened_parts,
    set_viewed,
    unread_parts,
    viewed_counts,
)
from approvals.errors import VerdictNotAllowed
from approvals.message_page.content.differences import changes_since_sent_back
from approvals.message_page.sheet import (
    ViewForm,
    rendered_message_of,
    sheet_context,
    twin_of,
    way_asked,
)
from approvals.message_page.side_panel import files_shown, ticks_shown
from approvals.message_page.views import (
    ShownForm,
    ViewedForm,
    answer_with_message,
    framed,
    get_bare_message_or_404,
    get_visible_message_or_404,
    is_prefetch,
    message_address,
)
from approvals.models import Verdict
from approvals.pictures import request_pictures, shown_pictures
from approvals.queue.views import filters_of
from audit.models import Entry
from audit.trail import first_at, lines
from common.pages import DeskRequest, first_or_404, page_or_fragment
from mirror.attachments.file_types import SENTENCES, Refused
from mirror.attachments.parsed import page_picture
from mirror.attachments.preview import document_of, pdf_pages
from mirror.errors import DeskError
from mirror.models import AttachedFile, Message, RemotePicture
from mirror.recording import record_about
from mirror.store import stored_content
from mirror.threads import conversation_of, enqueue_freshen
from rendering import draw_original, stripped
from rendering.passages import with_marks


@require_safe
def message_sheet(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the message's content in the requested tab; without htmx, redirect to the
    whole page.
    """
    message = get_visible_message_or_404(request, public_id)
    if not request.htmx:
        query = request.GET.urlencode()
        return redirect(
            reverse("message", args=[public_id]) + (f"?{query}" if query else "")
        )
    content = stored_content(message.revision) if message.revision else None
    rendered = (
        rendered_message_of(message.revision, content) if message.revision else None
    )
    if message.revision and request.method != "HEAD":
        note_served(message, request.actor)
    context = {
        "message": message,
        "content": content,
        "rendered": rendered,
        **sheet_context(
            message,
            content,
            rendered,
            way=way_asked(request),
            sent_back=changes_since_sent_back(message),
            query=filters_of(request).suffix,
        ),
    }
    return render(request, "approvals/message_page/_sheet.html", context)


@require_safe
def body(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Serve the sanitised mail as the document of its frame, with a CSP of its own
    under which nothing loads or runs.
    """
    message = get_bare_message_or_404(request, public_id)
    if message.revision is None:
        return HttpResponse(
            "The content is still being fetched.",
            content_type="text/plain; charset=utf-8",
        )
    if request.method != "HEAD":
        note_served(message, request.actor)
    document = rendered_message_of(message.revision).document
    passages = passages_for_rules(message, request.actor)
    return framed(with_marks(document, passages)[0] if passages else document)


@require_safe
def original(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Serve what a browser makes of the original, as `body` serves the message; the
    same as `body` if it could not be read safely.
    """
    message = get_bare_message_or_404(request, public_id)
    revision = message.revision
    if revision is None or revision.is_unsafe:
        return body(request, public_id)
    if request.method != "HEAD":
        note_served(message, request.actor)
    return framed(draw_original(stored_content(revision)))


@require_safe
def files(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the panel of attachments."""
    message = get_visible_message_or_404(request, public_id)
    attached = attached_files(message)
    opened = opened_parts(message, request.actor) if attached else set()
    context = {
        "message": message,
        "content": stored_content(message.revision) if message.revision else None,
        "ticks": ticks_shown(message, opened, request.actor),
        **files_shown(message, attached, opened),
    }
    return render(request, "approvals/message_page/_attachments.html", context)


@require_safe
def file_view(request: DeskRequest, public_id: UUID, place: int) -> HttpResponse:
    """Serve a preview of one file for a frame in which nothing loads or runs, or the
    reason why there is none.
    """
    message, file = _find_file(request, public_id, place)
    document = document_of(file)
    if document.is_shown:
        _note_opened_file(request, message, file, "looked at")
    return framed(document.html, headers={"Content-Disposition": "inline"})


@require_safe
def file_pages(request: DeskRequest, public_id: UUID, place: int) -> HttpResponse:
    """Show pages of a PDF as pictures with their text, or say why they are not shown."""
    message, file = _find_file(request, public_id, place)
    preview = pdf_pages(file, first=ViewForm(request.GET).value("page") or 1)
    if preview.pages:
        _note_opened_file(request, message, file, "looked at")
    return page_or_fragment(
        request,
        page="approvals/message_page/file_pages.html",
        fragment="approvals/message_page/_file_pages.html",
        context={"message": message, "file": file, "shown": preview},
    )


@require_safe
def file_page(
    request: DeskRequest, public_id: UUID, place: int, page: int
) -> HttpResponse:
    """Serve one page of a PDF as a PNG picture. If it cannot be drawn, serve an SVG
    picture of the sentence that says why, with status 404.
    """
    message, file = _find_file(request, public_id, place)
    try:
        picture = page_picture(file, page)
    except Refused as refused:
        drawn = render_to_string(
            "approvals/message_page/no_page.svg",
            {"page": page, "sentence": SENTENCES[refused.reason]},
        )
        return framed(drawn, status=404, headers={"Content-Type": "image/svg+xml"})
    _note_opened_file(request, message, file, "looked at")
    return framed(picture, headers={"Content-Type": "image/png"})


@require_safe
def file_download(request: DeskRequest, public_id: UUID, place: int) -> HttpResponse:
    """Serve the bytes of one file as a download."""
    message, file = _find_file(request, public_id, place)
    if file.content is None:
        raise Http404("This file has not been fetched.")
    _note_opened_file(request, message, file, "downloaded")
    # Remove characters that make a file name look like another, such as those that
    # reverse the writing direction.
    name = stripped(file.name).strip() or "file"
    disposition = content_disposition_header(as_attachment=True, filename=name)
    headers = {
        "Content-Disposition": disposition,
        "Content-Type": "application/octet-stream",
    }
    return framed(bytes(file.content), headers=headers)


@require_safe
def pictures(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the remote pictures that were fetched, and how far the others are."""
    return _pictures_panel(request, get_visible_message_or_404(request, public_id))


def _pictures_panel(request: DeskRequest, message: Message) -> HttpResponse:
    if not request.htmx:
        return redirect(f"{message_address(request, message.public_id)}#pictures")
    context = {
        "message": message,
        "revision": message.revision,
        "pictures": shown_pictures(message),
    }
    return render(request, "approvals/message_page/_pictures.html", context)


@require_POST
def load_pictures(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Have the remote pictures of the version on screen fetched; 409 if it is not the
    current one.
    """
    message = get_visible_message_or_404(request, public_id)
    rendered = rendered_message_of(message.revision) if message.revision else None
    # What only the original loads is counted, and not shown.
    found = [one for one in rendered.blocked if one.mark] if rendered else []
    try:
        request_pictures(
            message=public_id,
            fingerprint=ShownForm(request.POST).value("fingerprint") or "",
            found=found,
            actor=request.actor,
        )
    except DeskError as error:
        answer = answer_with_message(request, public_id, error)
        return retarget(reswap(answer, "outerHTML"), "#message")
    return _pictures_panel(request, message)


@require_safe
def picture_view(request: DeskRequest, public_id: UUID, place: int) -> HttpResponse:
    """Show one remote picture as it was fetched, in a frame in which nothing loads or
    runs.
    """
    message = get_visible_message_or_404(request, public_id)
    found = RemotePicture.objects.of_current_version(message).filter(
        place=place, state="fetched"
    )
    picture = first_or_404(found, "This message has no such picture.")
    return framed(document_of(picture).html)


@require_safe
def unread(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show which parts of the message this person has not opened; the page shows the
    list beside the decision.
    """
    message = get_visible_message_or_404(request, public_id)
    conversation = conversation_of(message)
    parts = unread_parts(
        message,
        conversation,
        attached_files(message),
        opened_parts(message, request.actor),
    )
    context = {"message": message, "conversation": conversation, "unread": parts}
    return render(request, "approvals/message_page/_unread.html", context)


@require_POST
def part_opened(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Record that the links of the current version were on the person's screen, as the
    page reports. Nothing is recorded if the page shows another version.
    """
    message = get_visible_message_or_404(request, public_id)
    version = message.fingerprint
    is_current = bool(version) and request.POST.get("fingerprint") == version
    if request.POST.get("part") == "links" and is_current:
        note_opened_part(message, links_key(message), request.actor)
    return HttpResponse(status=204)


@require_POST
def viewed(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Tick one file or finding as viewed, or take the tick away; 409 where the content
    has changed since.
    """
    get_visible_message_or_404(request, public_id)
    form = ViewedForm(request.POST)
    try:
        if not form.is_valid():
            raise VerdictNotAllowed("Choose what to tick on the message's page.")
        message = set_viewed(
            message=public_id, actor=request.actor, **form.cleaned_data
        )
    except DeskError as error:
        answer = answer_with_message(request, public_id, error)
        # The answer to a tick takes its place; this is the whole message.
        return retarget(reswap(answer, "outerHTML"), "#message")
    name = form.cleaned_data["name"]
    if not request.htmx:
        return redirect(f"{message_address(request, public_id)}#{name}")
    ticks = {name} if form.cleaned_data["is_viewed"] else set()
    context = {"message": message, "name": name, "ticks": ticks}
    return render(request, "approvals/message_page/_tick.html", context)


def _find_file(
    request: DeskRequest, public_id: UUID, number: int
) -> tuple[Message, AttachedFile]:
    message = get_visible_message_or_404(request, public_id)
    files = AttachedFile.objects.filter(revision=message.revision_id, place=number)
    return message, first_or_404(files, "This message has no such file.")


def _note_opened_file(
    request: DeskRequest, message: Message, file: AttachedFile, how: str
) -> None:
    """Record that a person opened a file or a preview of it."""
    if request.method == "HEAD" or is_prefetch(request) or file.content is None:
        return
    note_opened_part(
        message,
        key_of(file),
        request.actor,
        action="attachment.served",
        details={"file": file.name[:300], "sha256": file.found_sha256, "how": how},
        # Every download is recorded: a copy leaves the desk.
        each_time=how == "downloaded",
    )


@require_safe
def thread(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the messages of the thread, newest first, and record that the person opened
    them.
    """
    message = get_visible_message_or_404(request, public_id)
    conversation = conversation_of(message)
    if request.method != "HEAD" and not is_prefetch(request):
        enqueue_freshen(message)
        if conversation.messages:
            note_opened_part(
                message,
                conversation.part,
                request.actor,
                action="thread.opened",
                details={"letters": str(len(conversation.messages))},
            )
    return page_or_fragment(
        request,
        page="approvals/message_page/thread.html",
        fragment="approvals/message_page/_thread.html",
        context={"message": message, "conversation": conversation, "is_open": True},
    )


@require_safe
def seen_decision(
    request: DeskRequest, public_id: UUID, verdict_id: int
) -> HttpResponse:
    """Show a past verdict with what was on screen when it was given. The ledger records
    that it was opened.
    """
    message, verdict = _find_verdict(request, public_id, verdict_id)
    version = verdict.revision.fingerprint
    if request.method != "HEAD" and not is_prefetch(request):
        with transaction.atomic():
            record_about(
                "ledger.seen_again",
                message,
                request.actor,
                fingerprint=version,
                details={"verdict": str(verdict.pk), "given_by": str(verdict.person)},
            )
    content = stored_content(verdict.revision)
    rendered = rendered_message_of(verdict.revision, content)
    entries = Entry.objects.of_message(message.public_id)
    verdict_entries = entries.of_person(verdict.person_id).of_action("verdict.given")
    key = str(verdict.pk)
    entry_of_verdict = next(
        (
            one
            for one in lines(verdict_entries.oldest_first())
            if one.fingerprint == version and one.details.get("verdict") == key
        ),
        None,
    )
    opened_at = first_at(
        message=message.public_id,
        action="message.opened",
        actor_id=str(verdict.person_id),
        fingerprint=version,
    )
    context = {
        "message": message,
        "verdict": verdict,
        "line": entry_of_verdict,
        # Without `seconds_shown` it was opened only after the verdict, or never.
        "opened_at": opened_at if verdict.seconds_shown is not None else None,
        "seen": verdict.seen,
        "revision": verdict.revision,
        "content": content,
        "has_changed": message.revision_id != verdict.revision_id,
        "newer": message.revision,
        "viewed": viewed_counts(verdict.seen),
        "twin": twin_of(rendered),
        "now": timezone.now(),
    }
    return render(request, "approvals/message_page/past_verdict.html", context)


@require_safe
def seen_body(request: DeskRequest, public_id: UUID, verdict_id: int) -> HttpResponse:
    """Serve the mail of the verdict's version for its frame, like `body` for the
    current version.
    """
    message, verdict = _find_verdict(request, public_id, verdict_id)
    if request.method != "HEAD":
        note_served(message, request.actor, fingerprint=verdict.revision.fingerprint)
    return framed(rendered_message_of(verdict.revision).document)


def _find_verdict(
    request: DeskRequest, public_id: UUID, verdict_id: int
) -> tuple[Message, Verdict]:
    message = get_visible_message_or_404(request, public_id)
    verdicts = message.verdicts.select_related("revision", "person")
    return message, first_or_404(
        verdicts.filter(pk=verdict_id), "This message has no such verdict."
    )

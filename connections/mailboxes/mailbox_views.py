"""One mailbox: what the desk does with its mail, its settings and mode at MultiMail, and deleting it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.pages import DeskRequest
from connections.mailboxes.commands import change_mailbox, delete_mailbox, set_desk_settings
from connections.mailboxes.forms import TIMINGS, DeleteForm, DeskForm, ModeForm, SettingsForm
from connections.mailboxes.modes import MODES, is_looser, mode_named
from connections.page_base import CHANGE_ERRORS, is_admin, mailbox_seen, told_by
from mirror.models import Mailbox
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_safe
def mailbox(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Show a mailbox; whoever is no admin of it sees it without the forms."""
    return _page(request, mailbox_seen(request, mailbox_id))


@login_required
@require_POST
def set_windows(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Set how long a decision can be undone, and when mail that waits expires."""
    box = mailbox_seen(request, mailbox_id)
    form = DeskForm(request.POST)
    if not form.is_valid():
        return _page(request, box, status=422, typed=request.POST, wrong=form.sentences())
    undo_window, expire_after = form.windows()
    try:
        set_desk_settings(mailbox=box, actor=request.actor, undo_window=undo_window, expire_after=expire_after)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, box, status=status, typed=request.POST, **told)
    messages.info(request, f"{box} keeps to that from its next message on.", extra_tags="desk")
    return redirect("mailbox", mailbox_id=box.pk)


@login_required
@require_POST
@reauthenticated
def change_settings(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Change settings at MultiMail; only what differs is sent."""
    box = mailbox_seen(request, mailbox_id)
    form = SettingsForm(request.POST)
    if not form.is_valid():
        return _page(request, box, status=422, typed=request.POST, wrong=form.sentences())
    try:
        changes, code = form.changes(box), form.cleaned_data["approval_code"]
        changed = change_mailbox(mailbox=box, actor=request.actor, changes=changes, code=code)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, box, status=status, typed=request.POST, **told)
    messages.info(request, f"{changed} is changed at MultiMail.", extra_tags="desk")
    return redirect("mailbox", mailbox_id=box.pk)


@login_required
@require_POST
def change_mode(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Tighten the mode at once; what loosens it leads to the page that says what that means."""
    box = mailbox_seen(request, mailbox_id)
    form = ModeForm(request.POST)
    if not form.is_valid():
        return _page(request, box, status=422, typed=request.POST, wrong=form.sentences())
    mode = form.cleaned_data["mode"]
    if is_looser(mode, than=box.oversight_mode):
        return redirect(f"{reverse('loosen-mailbox', kwargs={'mailbox_id': box.pk})}?to={mode}")
    if mode == box.oversight_mode:
        return redirect("mailbox", mailbox_id=box.pk)
    try:
        changed = change_mailbox(mailbox=box, actor=request.actor, changes={"oversight_mode": mode})
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, box, status=status, **told)
    now = mode_named(changed.oversight_mode)
    said = f"{box} is stricter now: {now.words.lower() if now else changed.oversight_mode}."
    messages.info(request, said, extra_tags="desk")
    return redirect("mailbox", mailbox_id=box.pk)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def delete(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Say what goes with a mailbox, and delete it when its address is typed."""
    box = mailbox_seen(request, mailbox_id)
    if not is_admin(request.actor, box.connection):
        told: dict[str, Any] = {"problem": f"Only an admin of {box.connection} can delete its mailboxes."}
        return _page(request, box, status=403, **told)
    if request.method != "POST":
        return _deleting(request, box)
    form = DeleteForm(request.POST, mailbox=box)
    if not form.is_valid():
        return _deleting(request, box, status=422, typed=request.POST, wrong=form.sentences())
    try:
        delete_mailbox(mailbox=box, actor=request.actor)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _deleting(request, box, status=status, typed=request.POST, **told)
    messages.info(request, f"{box} is deleted at MultiMail. Its history stays here.", extra_tags="desk")
    return redirect("mailboxes")


def _deleting(request: DeskRequest, box: Mailbox, *, status: int = 200, **more: Any) -> HttpResponse:
    held = Mailbox.objects.visible_to(request.actor).held_in_each().get(box.pk, 0)
    return render(request, "approvals/mailbox_delete.html", {"box": box, "held": held, **more}, status=status)


def _page(
    request: DeskRequest, box: Mailbox, *, status: int = 200, typed: Any = None, wrong: dict[str, str] | None = None,
    **told: Any,
) -> HttpResponse:  # fmt: skip
    held = Mailbox.objects.visible_to(request.actor).held_in_each().get(box.pk, 0)
    context: dict[str, Any] = {
        "box": box,
        "mode": mode_named(box.oversight_mode),
        "modes": [(mode, is_looser(mode.name, than=box.oversight_mode)) for mode in MODES],
        "timings": TIMINGS,
        "held": held,
        "may_change": is_admin(request.actor, box.connection, box.pk),
        "may_delete": is_admin(request.actor, box.connection) and bool(box.connection.admin_key),
        "has_key": bool(box.connection.admin_key),
        "settings": _settings_typed(box, typed),
        "undo_seconds": typed["undo_seconds"] if typed and "undo_seconds" in typed else _seconds(box),
        "expire_hours": typed["expire_hours"] if typed and "expire_hours" in typed else _hours(box),
        "allowlists": _allowlists(box),
        "wrong": wrong or {},
        **told,
    }
    return render(request, "approvals/mailbox.html", context, status=status)


def _settings_typed(box: Mailbox, typed: Any) -> dict[str, Any]:
    """Return the settings as they stand in the form: as they were typed, else as MultiMail has them."""
    if typed and "display_name" in typed:
        return {name: typed.get(name, "") for name in SettingsForm.base_fields}
    names = [name for name in SettingsForm.base_fields if name != "approval_code"]
    values = {name: getattr(box, name) for name in names}
    return values | {"auto_cc": ", ".join(box.auto_cc), "auto_bcc": ", ".join(box.auto_bcc)}


def _seconds(box: Mailbox) -> int:
    return int(box.undo_window.total_seconds())


def _hours(box: Mailbox) -> str:
    return "" if box.expire_after is None else f"{box.expire_after.total_seconds() / 3600:g}"


def _allowlists(box: Mailbox) -> str:
    """Return where the lists of the mailbox are, nothing while that page is not there."""
    try:
        return f"{reverse('allowlists')}?mailbox={box.pk}"
    except NoReverseMatch:
        return ""

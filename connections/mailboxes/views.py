"""The pages of mailboxes: the list, adding a mailbox, a mailbox with its settings,
loosening its oversight mode, and deleting it.
"""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    changes,
    cleaned,
    only_for,
    posted,
    redirect_with_notice,
    require_get_or_post,
)
from connections.changes import (
    READ_SECONDS,
    ChangeNotOffered,
    ChangeRefused,
    ChangeUnknown,
    is_admin,
)
from connections.mailboxes.commands import (
    change_mailbox,
    create_mailbox,
    delete_mailbox,
    loosen,
    read_upgrade_requests,
    requests_for,
    set_desk_settings,
)
from connections.mailboxes.forms import (
    DeleteForm,
    DeskForm,
    LoosenForm,
    ModeForm,
    NewMailboxForm,
    SettingsForm,
)
from connections.pages import (
    administered_connections,
    answer,
    get_visible_mailbox_or_404,
)
from mirror import tasks
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import MODES, consequences, is_looser, mode_named
from mirror.sync.account import read_mailboxes
from people.second_admin.registry import wants_second_admin
from people.sign_in.reauthentication import reauthenticated
from policy.rules.facts import needs_of_new_mailbox


@require_safe
def mailboxes(request: DeskRequest) -> HttpResponse:
    """List the mailboxes of every account that the actor may see. They are read from
    MultiMail now if the actor is an admin of them.
    """
    actor = request.actor
    connections = Connection.objects.at_work().visible_to(actor).order_by("name", "pk")
    accounts = [_account(connection, actor) for connection in connections]
    context = {"accounts": accounts, "may_add": any(one["may_add"] for one in accounts)}
    return render(request, "connections/mailboxes.html", context)


def _account(connection: Connection, actor: Actor) -> dict[str, Any]:
    """Return what the page shows about a connection and its mailboxes. `error` says why
    they may be out of date.
    """
    visible = connection.mailboxes.visible_to(actor)
    administers = is_admin(actor, connection) or any(
        is_admin(actor, connection, one.pk) for one in visible
    )
    error = ""
    if not (connection.admin_key or connection.read_key):
        pass
    elif connection.paused_at or connection.failing_since:
        # Do not wait for an account that is known not to answer.
        error = "The connection has a problem, so MultiMail was not asked. These are the settings as last read."
    elif administers:
        error = read_mailboxes(connection_id=connection.pk, within=READ_SECONDS)
    else:
        tasks.read_account.delay_on_commit(connection.pk)
    mailboxes = list(visible.order_by("address", "pk"))
    held = visible.held_in_each()
    active = [one for one in mailboxes if one.is_active]
    requests = []
    can_list_requests = True
    if administers and connection.admin_key and not error:
        try:
            requests = read_upgrade_requests(connection)
        except ChangeNotOffered:
            can_list_requests = False
        except (ChangeRefused, ChangeUnknown) as failure:
            error = failure.sentence
    # The page shows only requests for mailboxes of which the actor is an admin: whoever
    # has the code can loosen the mode.
    mailbox_by_id = {
        one.upstream_id: one for one in active if is_admin(actor, connection, one.pk)
    }
    return {
        "connection": connection,
        "boxes": [(one, held.get(one.pk, 0)) for one in active],
        "gone": [one for one in mailboxes if not one.is_active],
        "wishes": [
            (one, mailbox_by_id[one.mailbox_id])
            for one in requests
            if one.mailbox_id in mailbox_by_id
        ],
        "error": error,
        "may_add": is_admin(actor, connection) and bool(connection.admin_key),
        "lacks_key": administers and not connection.admin_key,
        "lists_wishes": can_list_requests,
    }


@require_get_or_post
@reauthenticated
def add_mailbox(request: DeskRequest) -> HttpResponse:
    """Show the form for a new mailbox, and create the mailbox."""
    actor = request.actor
    accounts = administered_connections(actor)
    only_for("an admin of a connection", bool(accounts))
    template = "connections/mailbox_add.html"
    connection_ids = [one.pk for one in accounts if one.admin_key]
    form = NewMailboxForm(
        posted(request), initial={"connection": request.GET.get("connection", "")}
    )
    offered = Connection.objects.filter(pk__in=connection_ids).order_by("name", "pk")
    form.fields["connection"].queryset = offered  # type: ignore[attr-defined]
    needs = [(one, needs_of_new_mailbox(actor, one.pk)) for one in offered]
    context = {"form": form, "needs": needs}
    if not form.is_bound:
        return answer(request, template, context)
    try:
        wanted = cleaned(form)
        if wanted["allow_looser_per_call"] and wants_second_admin(actor):
            raise ChangeRefused(
                "Create the mailbox first; then ask on its page that a call may loosen its own oversight."
            )
        created = create_mailbox(
            connection=wanted["connection"],
            actor=actor,
            wanted=form.wanted(),
            code=wanted["approval_code"],
        )
    except SentenceError as error:
        return answer(request, template, context, failed=error)
    notice = f"{created} was created. Its mode is {_mode_words(created)}."
    if wanted["allow_looser_per_call"]:
        # A change of its own, because a second admin may have to accept it.
        try:
            change_mailbox(
                mailbox=created, actor=actor, changes={"allow_looser_per_call": True}
            )
        except SentenceError as error:
            notice += f" A call may not loosen it yet. {error.sentence}"
    return redirect_with_notice(request, notice, "mailbox", mailbox_id=created.pk)


def _mode_words(mailbox: Mailbox) -> str:
    mode = mode_named(mailbox.oversight_mode)
    return mode.words.lower() if mode else mailbox.oversight_mode


def _mailbox_page(
    request: DeskRequest, mailbox_id: int, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show a mailbox. Only its admins see the forms."""
    mailbox = get_visible_mailbox_or_404(request, mailbox_id)
    typed = request.POST
    has_key = bool(mailbox.connection.admin_key)
    context = {
        "box": mailbox,
        "modes": [
            (mode, is_looser(mode.name, than=mailbox.oversight_mode)) for mode in MODES
        ],
        "held": _held_in(request, mailbox),
        "may_change": is_admin(request.actor, mailbox.connection, mailbox.pk),
        "may_delete": has_key and is_admin(request.actor, mailbox.connection),
        "has_key": has_key,
        "settings": SettingsForm(
            typed if "display_name" in typed else None, mailbox=mailbox
        ),
        "seen": SettingsForm.seen_state(mailbox),
        "desk": DeskForm(typed if "undo_seconds" in typed else None, mailbox=mailbox),
    }
    return answer(request, "connections/mailbox.html", context, failed=error)


mailbox = require_safe(_mailbox_page)
_changes = changes(_mailbox_page, to="mailbox", is_same=True)


@require_POST
@_changes
def set_windows(request: DeskRequest, mailbox_id: int) -> str:
    """Change the desk's own settings of a mailbox, such as how long one can undo."""
    mailbox = get_visible_mailbox_or_404(request, mailbox_id)
    form = DeskForm(request.POST, mailbox=mailbox)
    cleaned(form)
    set_desk_settings(mailbox=mailbox, actor=request.actor, **form.wanted())
    return f"Saved. It applies to {mailbox} from its next message."


@require_POST
@reauthenticated
@_changes
def change_settings(request: DeskRequest, mailbox_id: int) -> str:
    """Change settings at MultiMail. Only those that differ are sent."""
    mailbox = get_visible_mailbox_or_404(request, mailbox_id)
    form = SettingsForm(request.POST, mailbox=mailbox)
    code = cleaned(form)["approval_code"]
    now = SettingsForm.seen_state(mailbox)
    if request.POST.get("seen", now) != now:
        raise ChangeRefused(
            "Somebody changed these settings meanwhile. Check them as they are now, then save again."
        )
    changed = change_mailbox(
        mailbox=mailbox, actor=request.actor, changes=form.changes(mailbox), code=code
    )
    return f"{changed} was changed at MultiMail."


@require_POST
@_changes
def change_mode(request: DeskRequest, mailbox_id: int) -> HttpResponse | str:
    """Set a stricter mode at once. For a looser mode, redirect to the page that asks
    for confirmation.
    """
    mailbox = get_visible_mailbox_or_404(request, mailbox_id)
    mode = cleaned(ModeForm(request.POST))["mode"]
    if is_looser(mode, than=mailbox.oversight_mode):
        return redirect(
            f"{reverse('loosen-mailbox', kwargs={'mailbox_id': mailbox.pk})}?to={mode}"
        )
    if mode == mailbox.oversight_mode:
        return redirect("mailbox", mailbox_id=mailbox.pk)
    changed = change_mailbox(
        mailbox=mailbox, actor=request.actor, changes={"oversight_mode": mode}
    )
    return f"{mailbox} is stricter now: {_mode_words(changed)}."


@require_get_or_post
@reauthenticated
@_changes
def loosen_mailbox(request: DeskRequest, mailbox_id: int) -> HttpResponse | str:
    """Show what a looser mode means for this mailbox, and set it."""
    mailbox = get_visible_mailbox_or_404(request, mailbox_id)
    may_loosen = is_admin(request.actor, mailbox.connection, mailbox.pk)
    only_for("an admin of this mailbox", may_loosen)
    form = LoosenForm(request.POST if request.method == "POST" else request.GET)
    target = form.cleaned_data["to"] if form.is_valid() else ""
    if not target or not is_looser(target, than=mailbox.oversight_mode):
        return redirect("mailbox", mailbox_id=mailbox.pk)
    if request.method != "POST":
        return _loosen_page(request, mailbox, target)
    code = form.cleaned_data["approval_code"]
    try:
        loosened = loosen(
            mailbox=mailbox, actor=request.actor, target=target, code=code
        )
    except SentenceError as error:
        return _loosen_page(request, mailbox, target, failed=error)
    return f"{mailbox} is looser now: {_mode_words(loosened)}. This was logged."


def _loosen_page(
    request: DeskRequest,
    mailbox: Mailbox,
    target: str,
    *,
    failed: SentenceError | None = None,
) -> HttpResponse:
    # First the request for this mode: setting the mode grants it, and ends the others.
    upgrade_requests = requests_for(mailbox) if mailbox.connection.admin_key else []
    upgrade_requests.sort(key=lambda one: one.target != target)
    context = {
        "box": mailbox,
        "to": target,
        "form": LoosenForm(initial={"to": target}),
        "says": consequences(str(mailbox), before=mailbox.oversight_mode, after=target),
        "held": _held_in(request, mailbox),
        "wish": upgrade_requests[0] if upgrade_requests else None,
    }
    return answer(request, "connections/mailbox_loosen.html", context, failed=failed)


@require_get_or_post
@reauthenticated
@_changes
def delete(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Show what is deleted with the mailbox. Delete it when its address is typed."""
    mailbox = get_visible_mailbox_or_404(request, mailbox_id)
    connection = mailbox.connection
    only_for(f"an admin of {connection}", is_admin(request.actor, connection))
    form = DeleteForm(posted(request), mailbox=mailbox)
    failed = None
    if form.is_bound:
        try:
            code = cleaned(form)["approval_code"]
            delete_mailbox(mailbox=mailbox, actor=request.actor, code=code)
            notice = f"{mailbox} is deleted at MultiMail. Its history stays here."
            return redirect_with_notice(request, notice, "mailboxes")
        except SentenceError as error:
            failed = error
    context = {"box": mailbox, "held": _held_in(request, mailbox), "form": form}
    return answer(request, "connections/mailbox_delete.html", context, failed=failed)


def _held_in(request: DeskRequest, mailbox: Mailbox) -> int:
    return Mailbox.objects.visible_to(request.actor).held_in_each().get(mailbox.pk, 0)

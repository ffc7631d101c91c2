"""The pages of mailboxes: the list, adding one, one with its settings and mode,
loosening its mode, deleting it; and the organisation's minimum oversight mode.
"""

from functools import wraps
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.forms import model_to_dict
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_POST,
    require_safe,
)

from common.actors import Actor
from common.pages import (
    ChangeView,
    DeskRequest,
    SentenceForm,
    View,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from connections.changes import READ_SECONDS, is_admin
from connections.errors import ChangeNotOffered, ChangeRefused, ChangeUnknown
from connections.mailboxes.commands import (
    change_mailbox,
    create_mailbox,
    delete_mailbox,
    loosen,
    read_upgrade_requests,
    requests_for,
    set_desk_settings,
    set_minimum,
)
from connections.mailboxes.forms import (
    TIMINGS,
    DeleteForm,
    DeskForm,
    LoosenForm,
    ModeForm,
    NewMailboxForm,
    SettingsForm,
)
from connections.pages import (
    CHANGE_ERRORS,
    administered_connections,
    answer,
    cleaned,
    get_visible_mailbox_or_404,
    refused,
)
from mirror import tasks
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import (
    MODES,
    consequences,
    is_looser,
    is_minimum_lower,
    mode_named,
)
from mirror.sync.account import read_mailboxes
from people.models import PendingChange
from people.second_admin.setting import organisation_settings
from people.sign_in.reauthentication import reauthenticated
from policy.gate_minimum import gate_minimums


@require_safe
def mailboxes(request: DeskRequest) -> HttpResponse:
    """List the mailboxes of every account that the actor sees, read now where they are
    an admin.
    """
    actor = request.actor
    connections = Connection.objects.at_work().visible_to(actor).order_by("name", "pk")
    accounts = [_account(connection, actor) for connection in connections]
    context = {"accounts": accounts, "may_add": any(one["may_add"] for one in accounts)}
    return render(request, "connections/mailboxes.html", context)


def _account(connection: Connection, actor: Actor) -> dict[str, Any]:
    """Return what the page shows of a connection and its mailboxes; `error` says why
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
    lists_wishes = True
    if administers and connection.admin_key and not error:
        try:
            requests = read_upgrade_requests(connection)
        except ChangeNotOffered:
            lists_wishes = False
        except (ChangeRefused, ChangeUnknown) as unread:
            error = unread.sentence
    # Only for mailboxes that the actor is an admin of: anyone with the code can loosen
    # the mode.
    by_id = {
        one.upstream_id: one for one in active if is_admin(actor, connection, one.pk)
    }
    return {
        "connection": connection,
        "boxes": [(one, held.get(one.pk, 0)) for one in active],
        "gone": [one for one in mailboxes if not one.is_active],
        "wishes": [
            (one, by_id[one.mailbox_id]) for one in requests if one.mailbox_id in by_id
        ],
        "error": error,
        "may_add": is_admin(actor, connection) and bool(connection.admin_key),
        "lacks_key": administers and not connection.admin_key,
        "lists_wishes": lists_wishes,
    }


@require_get_or_post
@reauthenticated
def add_mailbox(request: DeskRequest) -> HttpResponse:
    """Show the form for a mailbox, and make it."""
    actor = request.actor
    accounts = administered_connections(actor)
    template = "connections/mailbox_add.html"
    if not accounts:
        return refused(request, template)
    keys = [one.pk for one in accounts if one.admin_key]
    typed = request.POST if request.method == "POST" else None
    form = NewMailboxForm(
        typed,
        initial={
            "connection": request.GET.get("connection", ""),
            "oversight_mode": "gated_send",
        },
    )
    offered = Connection.objects.filter(pk__in=keys).order_by("name", "pk")
    form.fields["connection"].queryset = offered  # type: ignore[attr-defined]
    context = {"form": form}
    if typed is None:
        return answer(request, template, context)
    try:
        wanted = cleaned(form)
        created = create_mailbox(
            connection=wanted["connection"],
            actor=actor,
            wanted=form.wanted(),
            code=wanted["approval_code"],
        )
    except CHANGE_ERRORS as error:
        return answer(request, template, context, failed=error)
    notice = f"{created} was created. Its mode is {_mode_words(created)}."
    if wanted["allow_looser_per_call"]:
        # A change of its own, because a second admin may have to accept it.
        try:
            change_mailbox(
                mailbox=created, actor=actor, changes={"allow_looser_per_call": True}
            )
        except CHANGE_ERRORS as error:
            notice += f" A call may not loosen it yet. {error.sentence}"
    return redirect_with_notice(request, notice, "mailbox", mailbox_id=created.pk)


def _mode_words(mailbox: Mailbox) -> str:
    mode = mode_named(mailbox.oversight_mode)
    return mode.words.lower() if mode else mailbox.oversight_mode


def _of_mailbox(view: ChangeView) -> View:
    """Decorate a view of the mailbox in its URL: the notice that it returns, or an
    error, is shown on the mailbox's page.
    """

    @wraps(view)
    def answered(request: DeskRequest, mailbox_id: int) -> HttpResponse:
        found = get_visible_mailbox_or_404(request, mailbox_id)
        try:
            outcome = view(request, found)
        except CHANGE_ERRORS as error:
            return _mailbox_page(request, found, failed=error)
        if isinstance(outcome, HttpResponse):
            return outcome
        return redirect_with_notice(request, outcome, "mailbox", mailbox_id=mailbox_id)

    return answered


@require_safe
@_of_mailbox
def mailbox(request: DeskRequest, found: Mailbox) -> HttpResponse:
    """Show a mailbox; the forms are only for its admins."""
    return _mailbox_page(request, found)


@require_POST
@_of_mailbox
def set_windows(request: DeskRequest, found: Mailbox) -> str:
    """Set how long a decision can be undone, and when waiting mail expires."""
    form = DeskForm(request.POST)
    cleaned(form)
    set_desk_settings(mailbox=found, actor=request.actor, **form.wanted())
    return f"Saved. It applies to {found} from its next message."


@require_POST
@reauthenticated
@_of_mailbox
def change_settings(request: DeskRequest, found: Mailbox) -> str:
    """Change settings at MultiMail; only what differs is sent."""
    form = SettingsForm(request.POST)
    code = cleaned(form)["approval_code"]
    changed = change_mailbox(
        mailbox=found, actor=request.actor, changes=form.changes(found), code=code
    )
    return f"{changed} was changed at MultiMail."


@require_POST
@_of_mailbox
def change_mode(request: DeskRequest, found: Mailbox) -> HttpResponse | str:
    """Tighten the mode at once; redirect a looser mode to its confirmation page."""
    mode = cleaned(ModeForm(request.POST))["mode"]
    if is_looser(mode, than=found.oversight_mode):
        return redirect(
            f"{reverse('loosen-mailbox', kwargs={'mailbox_id': found.pk})}?to={mode}"
        )
    if mode == found.oversight_mode:
        return redirect("mailbox", mailbox_id=found.pk)
    changed = change_mailbox(
        mailbox=found, actor=request.actor, changes={"oversight_mode": mode}
    )
    return f"{found} is stricter now: {_mode_words(changed)}."


@require_get_or_post
@reauthenticated
@_of_mailbox
def loosen_mailbox(request: DeskRequest, found: Mailbox) -> HttpResponse | str:
    """Show what a looser mode means for this mailbox, and set it."""
    if not is_admin(request.actor, found.connection, found.pk):
        refusal = ActNotAllowed(
            "Only an admin of this mailbox can loosen its oversight."
        )
        return _loosen_page(
            request, found, found.oversight_mode, failed=refusal, is_refused=True
        )
    form = LoosenForm(request.POST if request.method == "POST" else request.GET)
    to = form.cleaned_data["to"] if form.is_valid() else ""
    if not to or not is_looser(to, than=found.oversight_mode):
        return redirect("mailbox", mailbox_id=found.pk)
    if request.method != "POST":
        return _loosen_page(request, found, to)
    code = form.cleaned_data["code"]
    try:
        now = loosen(mailbox=found, actor=request.actor, target=to, code=code)
    except CHANGE_ERRORS as error:
        return _loosen_page(request, found, to, failed=error)
    return f"{found} is looser now: {_mode_words(now)}. This was logged."


def _loosen_page(
    request: DeskRequest,
    found: Mailbox,
    to: str,
    *,
    failed: DeskError | None = None,
    is_refused: bool = False,
) -> HttpResponse:
    may_ask = found.connection.admin_key and not is_refused
    # First what setting this mode would grant; it would end the others.
    wishes = requests_for(found) if may_ask else []
    wishes.sort(key=lambda one: one.target != to)
    context = {
        "box": found,
        "to": to,
        "says": consequences(str(found), before=found.oversight_mode, after=to),
        "held": _held_in(request, found),
        "wish": wishes[0] if wishes else None,
        "is_refused": is_refused,
    }
    return answer(request, "connections/mailbox_loosen.html", context, failed=failed)


@require_get_or_post
@reauthenticated
@_of_mailbox
def delete(request: DeskRequest, found: Mailbox) -> HttpResponse:
    """Show what is deleted with a mailbox, and delete it when its address is typed."""
    if not is_admin(request.actor, found.connection):
        raise ActNotAllowed(
            f"Only an admin of {found.connection} can delete its mailboxes."
        )
    template = "connections/mailbox_delete.html"
    context = {"box": found, "held": _held_in(request, found)}
    if request.method != "POST":
        return render(request, template, context)
    try:
        code = cleaned(DeleteForm(request.POST, mailbox=found))["approval_code"]
        delete_mailbox(mailbox=found, actor=request.actor, code=code)
    except CHANGE_ERRORS as error:
        context["typed"] = request.POST
        return answer(request, template, context, failed=error)
    notice = f"{found} is deleted at MultiMail. Its history stays here."
    return redirect_with_notice(request, notice, "mailboxes")


def _held_in(request: DeskRequest, mailbox: Mailbox) -> int:
    return Mailbox.objects.visible_to(request.actor).held_in_each().get(mailbox.pk, 0)


def _mailbox_page(
    request: DeskRequest, found: Mailbox, *, failed: DeskError | None = None
) -> HttpResponse:
    typed = request.POST
    has_key = bool(found.connection.admin_key)
    context = {
        "box": found,
        "modes": [
            (mode, is_looser(mode.name, than=found.oversight_mode)) for mode in MODES
        ],
        "timings": TIMINGS,
        "held": _held_in(request, found),
        "may_change": is_admin(request.actor, found.connection, found.pk),
        "may_delete": has_key and is_admin(request.actor, found.connection),
        "has_key": has_key,
        "settings": SettingsForm(
            typed if "display_name" in typed else None, initial=model_to_dict(found)
        ),
        "desk": DeskForm(
            typed if "undo_seconds" in typed else None,
            initial=DeskForm.values_of(found),
        ),
        "waiting_changes": PendingChange.objects.visible_to(request.actor).at(
            "mailbox", found.pk
        ),
        "allowlists": f"{reverse('allowlists')}?mailbox={found.pk}",
    }
    return answer(request, "connections/mailbox.html", context, failed=failed)


ANY = "any"


class MinimumForm(SentenceForm):
    """The loosest mode that a mailbox can have."""

    minimum = forms.ChoiceField(
        choices=[(ANY, "Any mode"), *((mode.name, mode.words) for mode in MODES)],
        error_messages=same_error("Choose one of the modes, or any."),
    )


@require_safe
def oversight_minimum(request: DeskRequest) -> HttpResponse:
    """Show the minimum."""
    return _minimum_page(request)


@require_POST
@reauthenticated
def set_oversight_minimum(request: DeskRequest) -> HttpResponse:
    """Set the minimum; a lower one waits for a second admin where the organisation
    wants that.
    """
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    try:
        chosen = cleaned(MinimumForm(request.POST))["minimum"]
        set_minimum(actor=request.actor, mode="" if chosen == ANY else chosen)
    except CHANGE_ERRORS as error:
        return _minimum_page(request, failed=error)
    notice = "Mailboxes can have any mode."
    if mode := mode_named(chosen):
        notice = f"No mailbox can be set below {mode.words}."
    return redirect_with_notice(request, notice, "oversight-minimum")


def _minimum_page(
    request: DeskRequest, *, failed: DeskError | None = None
) -> HttpResponse:
    if not request.actor.looks_after_people:
        raise PermissionDenied
    settings = organisation_settings()
    now = settings.minimum_oversight
    choices = [(ANY, "Any mode", "", is_minimum_lower("", than=now))]
    choices += [
        (mode.name, mode.words, mode.sent, is_minimum_lower(mode.name, than=now))
        for mode in reversed(MODES)
    ]
    connections = Connection.objects.at_work().visible_to(request.actor)
    changes = PendingChange.objects.visible_to(request.actor)
    context = {
        "settings": settings,
        "minimum": mode_named(now),
        "chosen": now or ANY,
        "choices": choices,
        "gateways": gate_minimums(connections.order_by("name"), now),
        "may_set": request.actor.is_admin_of_all,
        "waiting_changes": changes.at("oversight-minimum"),
    }
    return answer(request, "connections/oversight_minimum.html", context, failed=failed)

"""The pages of mailboxes: the list, adding a mailbox, a mailbox with its settings,
loosening its oversight mode, and deleting it.
"""

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from common.actors import Actor
from common.errors import SentenceError
from common.pages import only_for, posted
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
from connections.pages import administered_connections, get_visible_mailbox_or_404
from mirror import tasks
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import MODES, consequences, is_looser, mode_named
from mirror.sync.account import read_mailboxes
from people.second_admin.registry import wants_second_admin
from people.sign_in.resource_views import ActionView, FormPageView, PageView
from policy.rules.facts import needs_of_new_mailbox


class MailboxList(PageView):
    """Lists the mailboxes of every account that the actor may see. They are read from
    MultiMail now if the actor is an admin of them.
    """

    template_name = "connections/mailboxes.html"

    def prepare(self) -> None:
        connections = Connection.objects.at_work().visible_to(self.actor)
        accounts = [
            _account(connection, self.actor)
            for connection in connections.order_by("name", "pk")
        ]
        may_add = any(one["may_add"] for one in accounts)
        self.extra_context = {"accounts": accounts, "may_add": may_add}


def _account(connection: Connection, actor: Actor) -> dict[str, Any]:
    """Return what the page shows about a connection and its mailboxes. `error` says why
    they may be out of date.
    """
    visible = connection.mailboxes.visible_to(actor)
    administers = is_admin(actor, connection) or any(
        one.is_administered_by(actor) for one in visible
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
        one.upstream_id: one for one in active if one.is_administered_by(actor)
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


class AddMailbox(FormPageView):
    """Shows the form for a new mailbox, and creates the mailbox."""

    template_name = "connections/mailbox_add.html"

    def prepare(self) -> None:
        accounts = administered_connections(self.actor)
        only_for("an admin of a connection", bool(accounts))
        ids = [one.pk for one in accounts if one.admin_key]
        self.offered = Connection.objects.filter(pk__in=ids).order_by("name", "pk")
        needs = [
            (one, needs_of_new_mailbox(self.actor, one.pk)) for one in self.offered
        ]
        self.extra_context = {"needs": needs}

    def get_form(self, form_class: Any = None) -> NewMailboxForm:
        chosen = self.request.GET.get("connection", "")
        form = NewMailboxForm(posted(self.request), initial={"connection": chosen})
        form.fields["connection"].queryset = self.offered  # type: ignore[attr-defined]
        return form

    def change(self, form: NewMailboxForm) -> str:
        wanted = form.cleaned_data
        if wanted["allow_looser_per_call"] and wants_second_admin(self.actor):
            raise ChangeRefused(
                "Create the mailbox first; then ask on its page that a call may loosen its own oversight."
            )
        created = create_mailbox(
            connection=wanted["connection"],
            actor=self.actor,
            wanted=form.wanted(),
            code=wanted["approval_code"],
        )
        notice = f"{created} was created. Its mode is {_mode_words(created)}."
        if wanted["allow_looser_per_call"]:
            # A change of its own, because a second admin may have to accept it.
            try:
                change_mailbox(
                    mailbox=created,
                    actor=self.actor,
                    changes={"allow_looser_per_call": True},
                )
            except SentenceError as error:
                notice += f" A call may not loosen it yet. {error.sentence}"
        self.success_url = reverse("mailbox", args=[created.pk])
        return notice


def _mode_words(mailbox: Mailbox) -> str:
    mode = mode_named(mailbox.oversight_mode)
    return mode.words.lower() if mode else mailbox.oversight_mode


class MailboxView(PageView):
    """A view about one mailbox."""

    def prepare(self) -> None:
        mailbox = get_visible_mailbox_or_404(self.request, self.kwargs["mailbox_id"])
        held_in_each = Mailbox.objects.visible_to(self.actor).held_in_each()
        held = held_in_each.get(mailbox.pk, 0)
        self.mailbox = mailbox
        self.may_change = mailbox.is_administered_by(self.actor)
        self.administers_account = is_admin(self.actor, mailbox.connection)
        self.command_arguments = {"mailbox": mailbox, "actor": self.actor}
        self.extra_context = {"box": mailbox, "held": held}
        self.success_url = reverse("mailbox", args=[mailbox.pk])


class MailboxPage(MailboxView):
    """Shows a mailbox. Only its admins see the forms."""

    template_name = "connections/mailbox.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        mailbox = self.mailbox
        kwargs.setdefault("settings", SettingsForm(None, mailbox=mailbox))
        kwargs.setdefault("desk", DeskForm(None, mailbox=mailbox))
        has_key = bool(mailbox.connection.admin_key)
        return super().get_context_data(
            modes=[
                (mode, is_looser(mode.name, than=mailbox.oversight_mode))
                for mode in MODES
            ],
            may_change=self.may_change,
            may_delete=has_key and self.administers_account,
            has_key=has_key,
            seen=SettingsForm.seen_state(mailbox),
            **kwargs,
        )


class SetWindows(ActionView, MailboxPage):
    """Changes the desk's own settings of a mailbox, such as how long one can undo."""

    form_name = "desk"
    is_sensitive = False

    def get_form(self, form_class: Any = None) -> DeskForm:
        return DeskForm(self.request.POST, mailbox=self.mailbox)

    def change(self, form: DeskForm) -> str:
        set_desk_settings(**self.command_arguments, **form.wanted())
        return f"Saved. It applies to {self.mailbox} from its next message."


class ChangeSettings(ActionView, MailboxPage):
    """Changes settings at MultiMail. Only those that differ are sent."""

    form_name = "settings"

    def get_form(self, form_class: Any = None) -> SettingsForm:
        return SettingsForm(self.request.POST, mailbox=self.mailbox)

    def change(self, form: SettingsForm) -> str:
        now = SettingsForm.seen_state(self.mailbox)
        if self.request.POST.get("seen", now) != now:
            raise ChangeRefused(
                "Somebody changed these settings meanwhile. Check them as they are now, then save again."
            )
        changed = change_mailbox(
            **self.command_arguments,
            changes=form.changes(self.mailbox),
            code=form.cleaned_data["approval_code"],
        )
        return f"{changed} was changed at MultiMail."


class ChangeMode(ActionView, MailboxPage):
    """Sets a stricter mode at once. For a looser mode, redirects to the page that asks
    for confirmation.
    """

    form_class = ModeForm
    is_sensitive = False

    def change(self, form: ModeForm) -> HttpResponse | str:
        mailbox = self.mailbox
        mode = form.cleaned_data["mode"]
        if is_looser(mode, than=mailbox.oversight_mode):
            return redirect(f"{reverse('loosen-mailbox', args=[mailbox.pk])}?to={mode}")
        if mode == mailbox.oversight_mode:
            return redirect(self.success_url)
        changed = change_mailbox(
            **self.command_arguments, changes={"oversight_mode": mode}
        )
        return f"{mailbox} is stricter now: {_mode_words(changed)}."


class LoosenMailbox(FormPageView, MailboxView):
    """Shows what a looser mode means for this mailbox, and sets it."""

    template_name = "connections/mailbox_loosen.html"
    form_class = LoosenForm

    def prepare(self) -> None:
        super().prepare()
        only_for("an admin of this mailbox", self.may_change)

    def handle(self) -> HttpResponseBase:
        form = LoosenForm(self.request.POST or self.request.GET)
        self.target = form.cleaned_data["to"] if form.is_valid() else ""
        mode = self.mailbox.oversight_mode
        if not self.target or not is_looser(self.target, than=mode):
            return redirect(self.success_url)
        return super().handle()

    def get_initial(self) -> dict[str, Any]:
        return {"to": self.target}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        mailbox = self.mailbox
        target = self.target
        # First the request for this mode: setting the mode grants it, and ends the
        # others.
        wishes = requests_for(mailbox) if mailbox.connection.admin_key else []
        wishes.sort(key=lambda one: one.target != target)
        return super().get_context_data(
            to=target,
            says=consequences(
                str(mailbox), before=mailbox.oversight_mode, after=target
            ),
            wish=wishes[0] if wishes else None,
            **kwargs,
        )

    def change(self, form: LoosenForm) -> str:
        loosened = loosen(
            **self.command_arguments,
            target=self.target,
            code=form.cleaned_data["approval_code"],
        )
        return (
            f"{self.mailbox} is looser now: {_mode_words(loosened)}. This was logged."
        )


class DeleteMailbox(FormPageView, MailboxView):
    """Shows what is deleted with the mailbox. Deletes it when its address is typed."""

    template_name = "connections/mailbox_delete.html"

    def prepare(self) -> None:
        super().prepare()
        connection = self.mailbox.connection
        only_for(f"an admin of {connection}", self.administers_account)

    def get_form(self, form_class: Any = None) -> DeleteForm:
        return DeleteForm(posted(self.request), mailbox=self.mailbox)

    def change(self, form: DeleteForm) -> str:
        code = form.cleaned_data["approval_code"]
        delete_mailbox(**self.command_arguments, code=code)
        self.success_url = reverse("mailboxes")
        return f"{self.mailbox} is deleted at MultiMail. Its history stays here."

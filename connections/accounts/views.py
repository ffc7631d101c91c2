"""The list of connections with the health of each, the page to add one, and the page
of one connection, with its keys and webhook and the views that rename, move, pause and
remove it and change its keys and secret.

Keys and secrets can be typed in, but no page ever shows them again.
"""

import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpResponse
from django.urls import reverse
from django.utils import timezone

from approvals import tasks
from approvals.reconcile.check_again import connections_to_read, request_read
from approvals.tasks import read_connection
from common.actors import Actor, Role
from common.errors import SentenceError
from common.pages import (
    DrawnForm,
    FormInvalid,
    NotedChoice,
    SentenceForm,
    admin_or_403,
    page_or_fragment,
    posted,
    same_error,
)
from common.time_zones import day_and_time
from common.typed_secrets import posted_with_secrets, save_secrets
from connections.accounts import commands, own_webhook
from connections.accounts.commands import MAX_NAME, MAX_REASON
from connections.accounts.keys import (
    SLOTS,
    address_error,
    check_address,
    check_all,
    check_key,
    scope_error,
    shown_start,
)
from connections.accounts.own_webhook import OVERLAPS
from connections.changes import (
    AccountConnected,
    ConnectionNotChanged,
    NotReached,
    is_admin,
)
from connections.pages import (
    AccountView,
    ApprovalCodeForm,
    ConnectionView,
    get_visible_connection_or_404,
)
from mirror.models import Connection, WebhookEvent
from mirror.sync.health import freshness_of, health_of
from mirror.tasks import read_account
from people.sign_in.resource_views import ActionView, FormPageView, PageView
from policy.rules.facts import needs_of_new_mailbox
from upstream.capabilities import DOORS
from upstream.hosts import HOSTED

# Where MultiMail is: the built-in gateway, the hosted service, or another address.
OURS = "ours"
THERE = "hosted"
OTHER = "other"


class SecretField(forms.RegexField):
    """A key or secret without spaces. `word` is what error messages call it."""

    def __init__(self, *, word: str = "key", **options: Any) -> None:
        errors = {
            "invalid": f"This is not a complete {word}. A {word} is 8 to 200 characters without spaces.",
            "required": f"Enter the {word}.",
        }
        attrs = {
            "autocomplete": "new-password",
            "maxlength": 200,
            "spellcheck": "false",
        }
        super().__init__(
            r"\A[\x21-\x7e]{8,200}\Z",
            error_messages=errors,
            strip=True,
            widget=forms.PasswordInput(attrs),
            **options,
        )


def _slot_field(name: str, *, required: bool = False) -> SecretField:
    slot = SLOTS[name]
    label = f"{slot.label} key"
    note = slot.turns_on
    if not required:
        label += " (optional)"
        note += f" Without it {slot.without}"
    return SecretField(label=label, help_text=note, required=required)


def _name_field(label: str, **attrs: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=MAX_NAME,
        error_messages={"required": "Enter a name."},
        widget=forms.TextInput(attrs),
    )


def _places() -> list[tuple[str, str]]:
    ours = f"It runs with this desk at {settings.MULTIMAIL_API_URL}."
    elsewhere = "A gateway elsewhere. An operator first adds its address to the setting OUTGOING_ALLOW."
    return [
        (OURS, NotedChoice("Built-in gateway", ours)),
        (THERE, NotedChoice("Hosted MultiMail", f"An account at {HOSTED}.")),
        (OTHER, NotedChoice("Another address", elsewhere)),
    ]


class AddConnectionForm(DrawnForm):
    """A connection to add: where its MultiMail is, its name, and its keys."""

    place = forms.ChoiceField(
        label="Where is MultiMail?",
        choices=_places,
        initial=OURS,
        error_messages=same_error("Choose where MultiMail is."),
        widget=forms.RadioSelect,
    )
    address = forms.CharField(
        label="Address, if it is another one",
        required=False,
        max_length=200,
        widget=forms.URLInput(
            {"placeholder": "https://mail.yourteam.example", "autocomplete": "off"}
        ),
    )
    name = _name_field("Name", placeholder="Acme support", autocomplete="off")
    oversight_key = _slot_field("oversight", required=True)
    read_key = _slot_field("read")
    admin_key = _slot_field("admin")
    agent_key = _slot_field("agent")

    def clean(self) -> None:
        cleaned = self.cleaned_data
        place_chosen = cleaned.get("place", "")
        url_by_place = {OURS: settings.MULTIMAIL_API_URL, THERE: HOSTED}
        url = url_by_place.get(place_chosen, cleaned.get("address", "")).rstrip("/")
        wrong_field = "address" if place_chosen == OTHER else "place"
        if place_chosen == OTHER and not url:
            self.add_error(
                wrong_field, "Enter an address, such as https://mail.yourteam.example."
            )
        elif (
            place_chosen
            and "address" not in self.errors
            and (error := address_error(url))
        ):
            self.add_error(wrong_field, error)
        keys = {name: cleaned.get(slot.field, "") for name, slot in SLOTS.items()}
        typed_keys = list(filter(None, keys.values()))
        if len(set(typed_keys)) < len(typed_keys):
            self.add_error(
                None,
                "The same key was entered twice. Enter a different one in each field.",
            )
        if self.errors:
            return
        checks = check_all(api_url=url, keys=keys)
        for name, check in checks.items():
            if check.problem and check.is_certain:
                self.add_error(SLOTS[name].field, check.problem)
            elif check.problem:
                # MultiMail did not answer, so nothing is wrong with this key or the
                # next.
                self.add_error(wrong_field, check.problem)
                break
        cleaned.update(api_url=url, keys=keys, checks=checks)


class KeyForm(DrawnForm):
    """A key to put into a slot."""

    key = SecretField()


class NameForm(DrawnForm):
    """A connection's name."""

    name = _name_field("Name at this desk")


class AddressForm(DrawnForm):
    """A gateway's new address."""

    address = forms.CharField(
        max_length=200,
        widget=forms.URLInput({"autocomplete": "off"}),
        error_messages={
            "required": "Enter an address, such as https://mail.yourteam.example."
        },
    )

    def clean_address(self) -> str:
        """Return the address as it is stored: without a trailing slash."""
        url = str(self.cleaned_data["address"]).rstrip("/")
        if not re.fullmatch(r"https?://[^/?#@\s]+", url):
            raise forms.ValidationError(
                "This is not a valid address. It begins with https:// and has no path."
            )
        if error := address_error(url):
            raise forms.ValidationError(error)
        return url


class PauseForm(DrawnForm):
    """The reason to pause a connection."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Enter a reason: others need to know why mail waits."
        },
    )


class OverlapForm(DrawnForm):
    """How long the old secret is accepted as well as the new one."""

    overlap = forms.TypedChoiceField(
        label="The old secret",
        choices=[(name, words) for name, (words, _) in OVERLAPS.items()],
        coerce=lambda name: OVERLAPS[name][1],
        error_messages=same_error("Choose how long the old secret stays valid."),
    )


class SecretForm(OverlapForm):
    """A secret that MultiMail made, and how long the old one is accepted too."""

    secret = SecretField(word="secret", label="Secret shown by MultiMail")
    field_order = ("secret", "overlap")


class RemoveForm(DrawnForm):
    """The connection's name, typed as a confirmation."""

    name = forms.CharField(
        max_length=MAX_NAME,
        error_messages={"required": "Type its name to remove it."},
        widget=forms.TextInput({"autocomplete": "off"}),
    )


class ConnectionList(PageView):
    """Shows each account: its address and mailboxes, which keys it has, when it was
    last read, and what is wrong.
    """

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        removed = Connection.objects.removed().visible_to(self.actor)
        return super().get_context_data(
            rows=connection_rows(self.actor),
            may_add=self.actor.is_admin_of_all,
            removed=removed.order_by("-removed_at"),
            **kwargs,
        )

    def render_to_response(
        self, context: dict[str, Any], **kwargs: Any
    ) -> HttpResponse:
        return page_or_fragment(
            self.request,
            page="connections/connections.html",
            fragment="connections/_connections.html",
            context=context,
            **kwargs,
        )


class ReadNow(ActionView, ConnectionList):
    """Has a whole account read now instead of within half a minute."""

    is_sensitive = False

    def change(self, form: Any) -> str:
        connection_id = self.kwargs["connection_id"]
        visible = get_visible_connection_or_404(self.request, connection_id)
        connection = request_read(connection_id=visible.pk, actor=self.actor)
        back = self.request.POST.get("back")
        self.success_url = reverse(
            "attention" if back == "attention" else "connections"
        )
        if back == "connection":
            self.success_url = reverse("connection", args=[connection.pk])
        return f"{connection} is being read. The result appears here in a moment."


def connection_rows(actor: Actor) -> list[dict[str, Any]]:
    """Return what the page shows about each connection that the actor may see."""
    visible = Connection.objects.at_work().visible_to(actor).order_by("name")
    return _rows_of(visible, actor)


def _rows_of(connections: Iterable[Connection], actor: Actor) -> list[dict[str, Any]]:
    """Return what pages show about these connections, without their keys."""
    now = timezone.now()
    readable = set(connections_to_read(actor).values_list("pk", flat=True))
    visible = WebhookEvent.objects.visible_to(actor)
    rows = []
    for connection in connections:
        freshness = freshness_of(connection, now=now)
        events = visible.filter(connection=connection)
        until = connection.previous_secret_until
        if not connection.previous_webhook_secret or (until and until <= now):
            until = None
        mailboxes = connection.mailboxes.visible_to(actor)
        rows.append(
            {
                "connection": connection,
                "may_read": connection.pk in readable,
                "freshness": freshness,
                "since": connection.paused_at or connection.failing_since,
                "health": health_of(connection, freshness, now=now),
                "mailboxes": list(mailboxes.order_by("address")),
                "keys": [
                    (SLOTS[name], bool(key)) for name, key in connection.keys.items()
                ],
                "last_event": events.order_by("-pk").first(),
                "old_secret_until": until,
                "to_look_at": events.to_look_at().count(),
            }
        )
    return rows


class AddConnection(FormPageView):
    """Shows the form to add a connection, and adds it. Nothing is saved before
    MultiMail has accepted the keys.
    """

    template_name = "connections/connection_add.html"
    form_class = AddConnectionForm

    def prepare(self) -> None:
        admin_or_403(self.request)
        self.extra_context = {"needs": needs_of_new_mailbox(self.actor, 0)}

    def change(self, form: AddConnectionForm) -> HttpResponse | str:
        typed = form.cleaned_data
        checks = typed["checks"]
        accounts = (check.account for check in checks.values() if check.account)
        try:
            added = commands.add_connection(
                actor=self.actor,
                name=typed["name"],
                api_url=typed["api_url"],
                keys=typed["keys"],
                scopes={name: check.scopes for name, check in checks.items()},
                is_our_gateway=typed["place"] == OURS,
                # The first key that gets to know it: hosted MultiMail tells an
                # oversight key nothing about the account.
                account=next(accounts, ""),
            )
        except ConnectionNotChanged as error:
            is_known = isinstance(error, AccountConnected)
            form.add_error("oversight_key" if is_known else "name", error.sentence)
            return self.form_invalid(form)
        read_connection.delay_on_commit(added.pk)
        read_account.delay_on_commit(added.pk)
        self.success_url = reverse("connection", args=[added.pk])
        return f"{added} is connected and being read. Register its webhook next."


class ConnectionPage(ConnectionView):
    """Shows a connection. What went wrong with a change is shown in its section."""

    template_name = "connections/connection.html"
    section = ""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        connection = self.connection
        forms = self.section_forms(kwargs.get("error"))
        is_auditor = self.actor.is_a(
            Role.AUDITOR, connection=connection.pk, mailbox=None
        )
        return super().get_context_data(
            row=_rows_of([connection], self.actor)[0],
            slots=_slots_of(connection, forms),
            doors=[
                (words, effect, connection.doors.get(kind))
                for kind, (words, effect) in DOORS.items()
            ],
            is_auditor=is_auditor,
            # Never the secret of the webhook.
            hook={
                "address": own_webhook.address_of(connection),
                "unreachable": own_webhook.unreachable_because(connection),
                "is_silent": WebhookEvent.objects.silent_connections()
                .filter(pk=connection.pk)
                .exists(),
                "events": WebhookEvent.objects.filter(connection=connection).count(),
                "wanted": own_webhook.wanted_events(connection),
                "is_open": own_webhook.is_open(connection),
                "rotates": connection.upstream_webhook_id
                and connection.admin_key
                and connection.is_our_gateway,
            },
            forms=forms,
            may_change=is_admin(self.actor, connection),
            may_remove=self.actor.is_admin_of_all,
            section=self.section,
            **kwargs,
        )

    def section_forms(self, error: SentenceError | None) -> dict[str, DrawnForm]:
        """Return the forms of the page by their sections. The form of a change that
        failed shows what was typed, and the error.
        """
        connection = self.connection
        form_by_section: dict[str, type[DrawnForm]] = {
            "name": NameForm,
            "address": AddressForm,
            "pause": PauseForm,
            "rotate": OverlapForm,
            "secret": SecretForm,
        }
        form_by_section |= {f"key_{name}": KeyForm for name in SLOTS}
        forms: dict[str, DrawnForm] = {}
        for name, form_class in form_by_section.items():
            form = form_class(
                posted_with_secrets(self.request) if name == self.section else None,
                initial={"name": connection.name, "address": connection.api_url},
                auto_id=f"{name}-%s",
            )
            if form_class is KeyForm:
                slot = SLOTS[name.removeprefix("key_")]
                form.fields["key"].label = f"{slot.label} key"
            if error and name == self.section:
                # What was typed may be valid: MultiMail or a command has refused it.
                form.errors.clear()
                is_of_field = not isinstance(error, NotReached)
                field = next(iter(form.fields)) if is_of_field else None
                form.add_error(field, error.sentence)
            if name == self.section:
                save_secrets(self.request, form)
            forms[name] = form
        forms["hook"] = ApprovalCodeForm(auto_id="hook-%s")
        return forms


def _slots_of(
    connection: Connection, forms: dict[str, DrawnForm]
) -> list[dict[str, Any]]:
    """Return what the page shows about each slot for a key, never the key itself."""
    rows = []
    for name, slot in SLOTS.items():
        key = connection.keys[name]
        scopes = connection.key_scopes.get(name)
        rows.append(
            {
                "slot": slot,
                "is_there": bool(key),
                "is_removable": bool(key) and name != "oversight",
                "form": forms[f"key_{name}"],
                "start": shown_start(key),
                "scopes": scopes,
                "is_known": name in connection.key_scopes,
                # If the scopes are not known, there is no error.
                "error": scope_error(slot, scopes) if key else "",
            }
        )
    return rows


class ConnectionAction(ActionView, AccountView, ConnectionPage):
    """Changes a connection by a form or a button in a `section` of its page."""

    def get_success_url(self) -> str:
        return reverse("connection", args=[self.connection.pk])

    def form_invalid(self, form: SentenceForm) -> HttpResponse:
        return self.show_error(FormInvalid(form))


class RenameConnection(ConnectionAction):
    section = "name"
    form_class = NameForm
    is_sensitive = False

    def change(self, form: NameForm) -> str:
        name = form.cleaned_data["name"]
        commands.rename(**self.command_arguments, name=name)
        return f"Renamed to {name}."


class ChangeAddress(ConnectionAction):
    """Changes a gateway's address, after the same account has answered there."""

    section = "address"
    form_class = AddressForm

    def change(self, form: AddressForm) -> str:
        url = form.cleaned_data["address"]
        account = check_address(connection=self.connection, api_url=url)
        commands.set_address(**self.command_arguments, api_url=url, account=account)
        tasks.read_connection.delay_on_commit(self.connection.pk)
        return f"{self.connection} is now at {url} and being read."


class PauseConnection(ConnectionAction):
    """Pauses the connection until somebody resumes it."""

    section = "pause"
    form_class = PauseForm
    is_sensitive = False

    def change(self, form: PauseForm) -> str:
        commands.pause_by_hand(**self.command_arguments, **form.cleaned_data)
        return f"{self.connection} is paused. Decisions wait here."


class ResumeConnection(ConnectionAction):
    section = "pause"
    is_sensitive = False

    def change(self, form: Any) -> str:
        commands.resume(**self.command_arguments)
        tasks.read_connection.delay_on_commit(self.connection.pk)
        return (
            f"{self.connection} is resumed. Decisions that are due are carried out now."
        )


class RemoveConnection(FormPageView, ConnectionView):
    """Shows what it means to remove the connection. Removes it when its name is typed."""

    template_name = "connections/connection_remove.html"

    def prepare(self) -> None:
        super().prepare()
        admin_or_403(self.request)
        self.extra_context["hindrance"] = commands.removal_error(self.connection)
        self.extra_context["waiting"] = self.connection.messages.held().count()

    def get_form(self, form_class: Any = None) -> RemoveForm:
        form = RemoveForm(posted(self.request))
        form.fields["name"].label = f"Type {self.connection} to remove it"
        return form

    def change(self, form: RemoveForm) -> HttpResponse | str:
        name = form.cleaned_data["name"]
        try:
            commands.remove_connection(**self.command_arguments, typed_name=name)
            to_do_by_hand = own_webhook.unregister(self.connection)
        except ConnectionNotChanged as refused:
            form.add_error("name", f"{refused.sentence} Nothing was changed.")
            return self.form_invalid(form)
        self.success_url = reverse("connections")
        notice = f"{self.connection} was removed. Its history stays. {to_do_by_hand}"
        return notice.strip()


class SetKey(ConnectionAction):
    """Puts a key into a slot after MultiMail has accepted it, or removes the key."""

    def prepare(self) -> None:
        super().prepare()
        self.slot = self.kwargs["slot"]
        if self.slot not in SLOTS:
            raise Http404("A connection has no such key.")
        self.section = f"key_{self.slot}"
        self.removes = self.request.POST.get("do") == "remove"

    def get_form_class(self) -> type[forms.Form]:
        return forms.Form if self.removes else KeyForm

    def change(self, form: Any) -> str:
        slot = SLOTS[self.slot]
        label = slot.label.lower()
        if self.removes:
            commands.remove_key(**self.command_arguments, slot=self.slot)
            return f"The {label} key was removed."
        key = form.cleaned_data["key"]
        checked = check_key(
            api_url=self.connection.api_url,
            key=key,
            slot=slot,
            account=self.connection.account_id,
        )
        if checked.problem and not checked.is_certain:
            raise NotReached(checked.problem)
        if checked.problem:
            raise ConnectionNotChanged(checked.problem)
        commands.set_key(
            **self.command_arguments,
            slot=self.slot,
            key=key,
            scopes=checked.scopes,
            account=checked.account,
        )
        if self.slot == "oversight":
            tasks.read_connection.delay_on_commit(self.connection.pk)
        return f"MultiMail accepts the key. It is now the {label} key."


class RegisterOwnWebhook(ConnectionAction):
    """Registers the desk's webhook at MultiMail."""

    section = "hook"
    form_class = ApprovalCodeForm

    def change(self, form: ApprovalCodeForm) -> str:
        code = form.cleaned_data["approval_code"]
        own_webhook.register(**self.command_arguments, code=code)
        return "The webhook is registered. Send a test to check it."


class RotateOwnWebhook(ConnectionAction):
    """Changes the secret here and at our gateway, or finishes an interrupted change."""

    section = "rotate"
    form_class = OverlapForm

    def change(self, form: OverlapForm) -> str:
        rotated = own_webhook.rotate(**self.command_arguments, **form.cleaned_data)
        until = rotated.previous_secret_until
        ends = f" The old one is valid until {day_and_time(until)}." if until else ""
        return f"MultiMail has the new secret.{ends}"


class TakeSecret(ConnectionAction):
    """Saves a secret that MultiMail made and the admin copied from there."""

    section = "secret"
    form_class = SecretForm

    def change(self, form: SecretForm) -> str:
        own_webhook.take_secret(**self.command_arguments, **form.cleaned_data)
        return "The secret is saved."


class EndOldSecret(ConnectionAction):
    """Stops accepting the old secret."""

    section = "end-old"

    def change(self, form: Any) -> str:
        own_webhook.end_overlap(**self.command_arguments)
        return "The old secret is no longer valid."

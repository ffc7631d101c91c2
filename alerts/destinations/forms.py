"""The forms of the alerts pages: a destination, a route, and the filters of the log.
Addresses and tokens can be typed in, and are never shown again.
"""

from typing import Any

from django import forms
from django.forms.models import model_to_dict
from django.utils.text import capfirst

from alerts.channels import DEFAULT_KIND, channel_of, shared_channels
from alerts.channels.base import Channel, FormField
from alerts.destinations.wording import privacy_notes
from alerts.ledger_events import EVENTS
from alerts.models import Delivery, Destination
from alerts.models.destinations import one_spelling
from common.pages import VERBATIM, DrawnForm, NotedChoice, same_error
from mirror.models import Connection, Mailbox

_EVENTS = [(event.name, capfirst(event.words)) for event in EVENTS]
# What most people want to be notified about: a message waits, as a review plan announces
# too, or something went wrong.
_DEFAULT_EVENTS = """
email.held email.late email.bounced email.complained email.failed decision.unknown
""".split()
# The columns of Destination with which the form of an existing one is filled.
_SHOWN = "kind name privacy channel mentions answers_channel".split()


def _places() -> list[tuple[str, str]]:
    connections = Connection.objects.filter(removed_at=None).order_by("name")
    mailboxes = Mailbox.objects.filter(connection__removed_at=None)
    return [
        ("", "all connections, also those added later"),
        *((f"connection-{one.pk}", one.name) for one in connections),
        *(
            (f"mailbox-{one.pk}", f"the mailbox {one}")
            for one in mailboxes.order_by("address", "pk")
        ),
    ]


class RouteForm(DrawnForm):
    """The form that adds a route: events, and the connection or mailbox where they
    happen.
    """

    events = forms.MultipleChoiceField(
        label="Notifies about",
        choices=_EVENTS,
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": "Choose at least one event.",
            "invalid_choice": "Choose from these events.",
        },
    )
    place = forms.ChoiceField(
        label="For",
        required=False,
        choices=_places,
        error_messages=same_error("This connection or mailbox is gone. Choose again."),
    )

    def clean_place(self) -> dict[str, int]:
        """Return the columns of the route, such as {"mailbox_id": 4}; none for all
        connections.
        """
        kind, _, key = str(self.cleaned_data["place"]).partition("-")
        return {f"{kind}_id": int(key)} if key else {}


class DestinationForm(RouteForm):
    """The form that adds or changes a destination. A secret that is left empty stays as
    it is.

    Each kind has its own fields (of url, channel and secret), which its channel checks.
    """

    name = forms.CharField(
        help_text="Its name at this desk.",
        max_length=80,
        widget=forms.TextInput({"autocomplete": "off", "placeholder": "#approvals"}),
        error_messages={"required": "Enter a name, such as #approvals."},
    )
    privacy = forms.ChoiceField(
        initial=Destination.Privacy.HEADERS,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose what a card shows.",
            "invalid_choice": "Choose one of the three levels.",
        },
    )

    def __init__(
        self, *args: Any, destination: Destination | None, **kwargs: Any
    ) -> None:
        if destination:
            kwargs["initial"] = model_to_dict(destination, fields=_SHOWN)
        super().__init__(*args, **kwargs)
        self.is_new = destination is None
        kind = self.initial.get("kind", "")
        # A destination's kind never changes.
        if self.is_new:
            kind = self.data.get("kind") or kind
            kind = kind if kind in shared_channels() else DEFAULT_KIND
        self.channel = channel_of(kind)
        for one in self.channel.fields:
            self.fields[one.name] = ChannelField(self.channel, one, is_new=self.is_new)
        self.fields["events"].required = False
        self.fields["events"].initial = _DEFAULT_EVENTS
        levels: Any = self.fields["privacy"]
        levels.choices = [
            (level, NotedChoice(Destination.Privacy(level).label, note))
            for level, note in privacy_notes(self.channel).items()
        ]

    def clean_answers_channel(self) -> str:
        """Return the channel as names are compared."""
        return one_spelling(self.cleaned_data["answers_channel"])

    def clean(self) -> None:
        """Refuse settings that the kind cannot have, and a new destination to which
        nothing would be posted.
        """
        values = self.cleaned_data
        missing = self.channel.missing(values, is_new=self.is_new)
        for name, sentence in missing.items():
            self.add_error(name, sentence)
        values["kind"] = self.channel.kind
        is_used = values.get("events") or values.get("answers_channel")
        if self.is_new and "events" not in self.errors and not is_used:
            self.add_error("events", "Choose at least one event.")

    def channel_fields(self) -> list[forms.BoundField]:
        """Return the fields of the kind."""
        return [self[one.name] for one in self.channel.fields]


class ChannelField(forms.CharField):
    """A field that only one kind of destination has."""

    def __init__(self, channel: Channel, field: FormField, *, is_new: bool) -> None:
        note = field.note
        attrs = {**VERBATIM, "autocomplete": "new-password"}
        widget: forms.Widget = forms.TextInput(attrs)
        if field.is_secret:
            note += " Anybody who has it can post there. It is stored encrypted and never shown again."
            if not is_new:
                note += " Leave it empty to keep it."
                attrs["placeholder"] = "unchanged"
            widget = forms.PasswordInput(attrs)
        super().__init__(
            label=field.label,
            help_text=note,
            required=bool(field.required) and (is_new or not field.is_secret),
            max_length=field.max_length,
            error_messages={"required": field.required, "max_length": field.too_long},
            widget=widget,
        )
        self.channel = channel
        self.field = field

    def clean(self, value: Any) -> str:
        typed = super().clean(value)
        return self.channel.clean_field(self.field, typed) if typed else ""


class LogForm(DrawnForm):
    """The filters of the log, from the query of its URL. Invalid values are ignored."""

    destination = forms.ModelChoiceField(
        Destination.objects.not_removed().order_by("name", "pk"),
        label="To",
        required=False,
        empty_label="All destinations",
    )
    state = forms.ChoiceField(
        label="Outcome", required=False, choices=[("", "Any"), *Delivery.State.choices]
    )
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)

    def filters(self) -> dict[str, Any]:
        """Return the valid filters."""
        self.is_valid()
        return {
            name: getattr(value, "pk", value)
            for name, value in self.cleaned_data.items()
            if value
        }

"""Every read of connections, mailboxes and received webhooks."""

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce, Concat, Greatest, Least, Length, Now, NullIf, StrIndex, Substr

from common.grace import FAILING_AFTER, STALE_AFTER, STUCK_AFTER
from common.postgres.statements import ANY, ValueQuery, list_of
from mirror.querysets.terms import BODY_SHOWN
from people.actors import Actor
from upstream.events import PENDING_NAMES

if TYPE_CHECKING:
    from mirror.models import Connection, Mailbox, Message, WebhookEvent  # noqa: F401 - the querysets' type parameters


def _scoped(actor: Actor) -> tuple[list[int | None], list[int]]:
    """Return the connections and the mailboxes that the actor has roles for."""
    connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
    return connections, [scope.mailbox for scope in actor.scopes if scope.mailbox is not None]


def is_rested(path: str = "") -> Q:
    """Whether the connection at the end of this path is not asked to wait by MultiMail (429)."""
    return Q((f"{path}wait_until", None)) | Q((f"{path}wait_until__lte", Now()))


def is_well(path: str = "") -> Q:
    """Whether the connection at the end of this path can be asked now."""
    return is_rested(path) & Q((f"{path}paused_at", None), (f"{path}failing_since", None))


# The oversight modes, the strictest first.
MODES = ("read_only", "gated_all", "gated_send", "monitored", "autonomous")
_MODES = f" {' '.join(MODES)} "


def _looseness(mode: F | OuterRef) -> Coalesce:
    """Return a number that is higher for looser modes, and highest for one that this version does not know."""
    position = StrIndex(Value(_MODES), Concat(Value(" "), mode, Value(" ")))
    return Coalesce(NullIf(position, 0), len(_MODES))


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Reads of the connected accounts."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, or for a mailbox of."""
        if actor.sees_all():
            return self
        connections, mailboxes = _scoped(actor)
        return self.filter(Q(pk__in=connections) | Q(mailboxes__in=mailboxes)).distinct()

    def at_work(self) -> Self:
        """All but removed ones, of which only history is left."""
        return self.filter(removed_at=None)

    def removed(self) -> Self:
        """Those that were removed from the desk."""
        return self.exclude(removed_at=None)

    def rested(self) -> Self:
        """All but the ones that MultiMail asked to wait."""
        return self.filter(is_rested())

    def to_read(self) -> Self:
        """Those to reconcile in each round: the healthy ones. The others are probed."""
        return self.at_work().filter(is_well())

    def overdue(self) -> Self:
        """Healthy ones not read for longer than a round: a task was lost."""
        never = Q(complete_as_of=None) | Q(complete_as_of__lt=Now() - timedelta(seconds=45))
        return self.to_read().filter(never, Q(read_at=None) | Q(read_at__lt=Now() - timedelta(seconds=15)))

    def turned_stale(self) -> Self:
        """Those not read whole for so long that the queue may lack mail, and not announced as stale yet.

        Those paused by hand are left out: a person did that.
        """
        quiet = self.at_work().filter(stale_since=None, paused_by_hand=False)
        return quiet.annotate(as_of=Coalesce("complete_as_of", "created_at")).filter(as_of__lt=Now() - STALE_AFTER)

    def turned_fresh(self) -> Self:
        """Those announced as stale, and read whole since."""
        return self.at_work().filter(stale_since__isnull=False, complete_as_of__gte=F("stale_since"))

    def to_probe(self) -> Self:
        """Unhealthy ones that are due for a probe: after as long as the failure has lasted, at most a minute.

        Paused ones are probed at least every five minutes, in case the key works or was replaced, except those that a
        person paused.
        """
        most = Case(When(paused_at=None, then=timedelta(minutes=1)), default=timedelta(minutes=5))
        been_so = Coalesce(F("read_at") - Least(F("failing_since"), F("paused_at")), timedelta(0))
        wait = Greatest(timedelta(seconds=5), Least(been_so, most), output_field=models.DurationField())
        unwell = self.at_work().rested().filter(paused_by_hand=False).exclude(paused_at=None, failing_since=None)
        unwell = unwell.annotate(wait=wait)
        # A time in the future is left from before the clock was set back.
        return unwell.filter(Q(read_at=None) | Q(read_at__lt=Now() - F("wait")) | Q(read_at__gt=Now()))

    def to_survey(self) -> Self:
        """Healthy ones whose MultiMail was not asked for a day what it can do."""
        return self.to_read().filter(Q(surveyed_at=None) | Q(surveyed_at__lt=Now() - timedelta(days=1)))

    def lacking_minimum(self) -> Self:
        """Our gateways that long lack the organisation's minimum, although there is a key to bring it there with."""
        minimum = apps.get_model("people", "OrganisationSettings").objects.exclude(minimum_oversight="")
        old = minimum.filter(minimum_set_at__lt=Now() - STUCK_AFTER)
        ordered = old.alias(looseness=_looseness(F("minimum_oversight")))
        looser = Exists(ordered.filter(looseness__lt=_looseness(OuterRef("gate_minimum"))))
        return self.at_work().filter(looser, is_our_gateway=True).exclude(admin_key="")

    def with_unsigned(self) -> Self:
        """Those that got webhooks with a wrong signature in the last day, as of the last count."""
        return self.at_work().filter(unsigned_count__gt=0)

    def unwell(self) -> Self:
        """Those that are paused, fail for a while, or were not read for so long that the queue may lack messages."""
        failing = Q(failing_since__lt=Now() - FAILING_AFTER)
        unread = Q(complete_as_of=None, created_at__lt=Now() - STUCK_AFTER)
        old = Q(complete_as_of__lt=Now() - STALE_AFTER)
        return self.at_work().filter(~Q(paused_at=None) | failing | unread | old)


class MailboxQuerySet(models.QuerySet["Mailbox"]):
    """Reads of mailboxes."""

    def at_work(self) -> Self:
        """All but those of connections that were removed."""
        return self.filter(connection__removed_at=None)

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, on the mailbox or its connection."""
        if actor.sees_all():
            return self
        connections, mailboxes = _scoped(actor)
        return self.filter(Q(connection__in=connections) | Q(pk__in=mailboxes))

    def there(self) -> Self:
        """Those that MultiMail still has, by their addresses."""
        return self.filter(is_active=True).order_by("address", "pk")

    def below_minimum(self) -> Self:
        """Those that people can look after, and that are looser than the organisation's minimum; none without one.

        As `mirror.oversight_modes.is_below` says it, in SQL.
        """
        minimum = apps.get_model("people", "OrganisationSettings").objects.exclude(minimum_oversight="")
        ranked = self.at_work().filter(is_active=True).exclude(oversight_mode="")
        may_loosen = Q(allow_looser_per_call=True) & ~Q(oversight_mode="read_only")
        ordered = minimum.alias(looseness=_looseness(F("minimum_oversight")))
        looser = Exists(ordered.filter(looseness__lt=_looseness(OuterRef("oversight_mode"))))
        per_call = Q(Exists(minimum.exclude(minimum_oversight="autonomous"))) & may_loosen
        return ranked.filter(Q(looser) | per_call)

    def known_as(self, upstream_id: str) -> "Mailbox | None":
        """Return the one of this id at MultiMail."""
        return self.filter(upstream_id=upstream_id).first()

    def held_in_each(self) -> dict[int, int]:
        """Return how many messages are held in each, by its key; those without any are left out."""
        held = self.filter(messages__state="held").order_by("pk")
        return dict(held.annotate(held=models.Count("messages")).values_list("pk", "held"))

    def addresses_in(self, connection: int) -> list[str]:
        """Return the addresses of a connection's mailboxes, as far as they are known."""
        known = self.filter(connection=connection).exclude(address="")
        return list(known.values_list("address", flat=True))


@cache
def addresses_of_any() -> ValueQuery:
    """Return the query for the addresses of a connection's mailboxes; its key is filled in later."""
    known = apps.get_model("mirror", "Mailbox").objects.filter(connection=ANY).exclude(address="")
    return list_of(known.values_list("address"))


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    """Reads of the webhooks as they were received."""

    def older_than(self, age: timedelta) -> Self:
        """Received longer ago than this, oldest first (relies on event_received)."""
        return self.filter(received_at__lt=Now() - age).order_by("received_at")

    def to_look_at(self) -> Self:
        """Those that could not be applied, contradict what is known, or were refuted, and that nobody has handled.

        MultiMail is asked about contradictions at once, so they are listed only after that has had time.
        """
        is_asked = Q(result="late", received_at__gte=Now() - STUCK_AFTER)
        return self.filter(~is_asked, result__in=("poison", "late", "refuted"), handled_at=None)

    def unconfirmed_about(self, message: "Message") -> Self:
        """Those that report the end of a message, as long as no read confirmed them (event_to_look_at)."""
        checking = self.filter(result="checking", handled_at=None, connection=message.connection_id)
        return checking.filter(email_id=message.upstream_id)

    def ends_of(self, message: "Message") -> Self:
        """Those that reported the end of a message since it was held (relies on event_received)."""
        since = self.filter(received_at__gte=message.held_at - timedelta(minutes=1), connection=message.connection_id)
        reports = since.filter(email_id=message.upstream_id, result__in=("applied", "late", "checking"))
        return reports.exclude(name__in=PENDING_NAMES)

    def late_about(self, message: "Message", *, until: datetime) -> Self:
        """Those received until then that contradict what is known of a message (relies on event_to_look_at)."""
        late = self.filter(result="late", handled_at=None, connection=message.connection_id)
        return late.filter(email_id=message.upstream_id, received_at__lte=until)

    def with_head_of_body(self) -> Self:
        """With the beginning of each body as `head` and its length as `size`, instead of the body."""
        head = Substr("body", 1, BODY_SHOWN, output_field=models.BinaryField())
        return self.annotate(head=head, size=Length("body")).defer("body")

    def visible_to(self, actor: Actor) -> Self:
        """Only those of connections that the actor has a role for whole: a body may be of any of its mailboxes."""
        if actor.sees_all():
            return self
        return self.filter(connection__in=_scoped(actor)[0])

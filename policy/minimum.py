"""The minimum oversight: the loosest oversight mode that the rules of the policy let
mailboxes have. It is set at each of our own gateways too, which then refuse looser
modes.

A gateway has one minimum for its account, so it gets the one that holds for all
mailboxes of the connection. It is only ever made stricter there; the gateway's operator
can lower it. Each check reads the gateway first, so a lost answer, or a gateway that was
restored from a backup, is noticed at the next check.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet, Subquery
from django.db.models.functions import Now

from audit.recording import record
from common.actors import Actor, worker
from common.grace import STUCK_AFTER
from mirror.models import Connection, Mailbox
from mirror.models.connections import is_well
from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from mirror.sync import health
from policy.models import PolicyVersion
from policy.rules.conditions import MessageFacts
from policy.rules.facts import active_policy
from policy.rules.rules import PolicyRule, RuleError, merged
from upstream import errors
from upstream.admin import AdminClient

ACTOR = worker("sync")
# A gateway's minimum in its account.
FIELD = "minimum_oversight_mode"
# Time limit of one call to the gateway, in seconds.
WITHIN = 30.0
# How often a gateway is compared; also the wait after a failure.
EVERY = timedelta(minutes=5)


def minimum_rules() -> list[PolicyRule]:
    """Return the active rules that ask for the oversight of mailboxes. Raises RuleError
    if the policy cannot be read.
    """
    return [one for one in active_policy().rules if one.then.least_mode]


def minimum_of(rules: Iterable[PolicyRule], connection: int, mailbox: int = 0) -> str:
    """Return the loosest oversight mode that these rules let a mailbox have; empty: any.
    Without `mailbox`, of one that is added to the connection.
    """
    facts = MessageFacts(connection=connection, mailbox=mailbox)
    return merged(one.then for one in rules if one.when.apply_to(facts)).least_mode


def minimum_of_all(rules: Iterable[PolicyRule], connection: int) -> str:
    """Return the minimum that holds for all mailboxes of a connection, also for those
    that are added to it: the loosest of theirs.
    """
    mailboxes = Mailbox.objects.filter(connection=connection, is_active=True)
    keys = (0, *mailboxes.values_list("pk", flat=True))
    minimums = [minimum_of(rules, connection, key) for key in keys]
    return max(minimums, key=(*NAMES, "").index)


def mailboxes_below(rules: Iterable[PolicyRule], actor: Actor) -> dict[int, str]:
    """Return by their keys the minimum of those visible mailboxes that are looser."""
    below = {}
    if rules:
        for one in Mailbox.objects.visible_to(actor).at_work().active():
            minimum = minimum_of(rules, one.connection_id, one.pk)
            per_call = one.allow_looser_per_call
            if is_below(one.oversight_mode, per_call=per_call, minimum=minimum):
                below[one.pk] = minimum
    return below


def gateways_below(rules: Iterable[PolicyRule]) -> list[int]:
    """Return the keys of the connections whose gateway could have the minimum of these
    rules by now, and allows more.
    """
    active = PolicyVersion.objects.active()
    if not rules or not active.filter(activated_at__lt=Now() - STUCK_AFTER).exists():
        return []
    return [
        one.pk
        for one in _gateways()
        if is_minimum_lower(one.gate_minimum, than=minimum_of_all(rules, one.pk))
    ]


def _gateways() -> QuerySet[Connection]:
    # The desk can set the minimum at these.
    ours = Connection.objects.at_work().filter(is_our_gateway=True)
    return ours.exclude(admin_key="")


def to_compare() -> QuerySet[Connection]:
    """Return the gateways whose minimum is due to be compared with that of the policy:
    every few minutes, and when a version of the policy becomes active.
    """
    active = PolicyVersion.objects.active().values("activated_at")[:1]
    due = (
        Q(gate_minimum_checked_at=None)
        | Q(gate_minimum_checked_at__lt=Now() - EVERY)
        | Q(gate_minimum_checked_at__lt=Subquery(active))
    )
    return _gateways().filter(is_well(), due)


def bring_minimum(*, connection_id: int) -> str:
    """Compare one gateway with the minimum that the policy asks of all its mailboxes,
    and set it there if the gateway allows more. Store the gateway's minimum, and return
    the result in a few words.
    """
    connection = to_compare().filter(pk=connection_id).first()
    if connection is None:
        return "not due"
    client = AdminClient(
        base_url=connection.api_url, key=connection.admin_key, within=WITHIN
    )
    try:
        wanted = minimum_of_all(minimum_rules(), connection.pk)
        if not wanted:
            _store(connection)
            return "no minimum"
        account = client.ask("GET", "/v1/account")
        before = str(account.get(FIELD) or "")
        if is_minimum_lower(before, than=wanted):
            account = client.ask("PATCH", "/v1/account", body={FIELD: wanted})
    except (RuleError, errors.UpstreamError) as error:
        if isinstance(error, errors.UpstreamError):
            health.note_unread(connection, "minimum", error)
        _store(connection, gate_minimum_error=error.sentence[:500])
        return "not now"
    after = str(account.get(FIELD) or "")
    with transaction.atomic():
        _store(connection, gate_minimum=after, gate_minimum_error="")
        if after == before:
            return "there already"
        record(
            "oversight_minimum.brought",
            actor=ACTOR,
            connection=connection.pk,
            details={
                "connection": str(connection),
                "before": before or "any mode",
                "after": after,
            },
        )
    return "brought"


def _store(connection: Connection, **fields: str) -> None:
    Connection.objects.filter(pk=connection.pk).update(
        gate_minimum_checked_at=Now(), **fields
    )

"""Sets the organisation's minimum oversight mode at each of our own gateways, which
then refuse looser modes; and tells pages which gateways have it.

A gateway's minimum is only ever made stricter; its operator can lower it. Each check
reads the gateway first, so a lost answer, or a gateway that was restored from a backup,
is noticed at the next check.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, Q, QuerySet
from django.db.models.functions import Now

from audit.recording import record
from common.actors import worker
from mirror.models import Connection
from mirror.models.connections import is_well
from mirror.oversight_modes import is_minimum_lower
from mirror.sync import health
from people.models import OrganisationSettings
from upstream import errors
from upstream.admin import AdminClient

log = logging.getLogger(__name__)

ACTOR = worker("sync")
# Time limit of one call to the gateway, in seconds.
WITHIN = 30.0
# How often a gateway is compared; also the wait after a failure.
EVERY = timedelta(minutes=5)


def to_compare() -> QuerySet[Connection]:
    """Return the gateways whose minimum is due to be compared with the organisation's;
    none if the organisation has no minimum.

    The sweep builds this query once and keeps it, so the query itself has to test
    whether there is a minimum.
    """
    minimum = OrganisationSettings.objects.exclude(minimum_oversight="")
    due = Q(gate_minimum_checked_at=None) | Q(gate_minimum_checked_at__lt=Now() - EVERY)
    gateways = Connection.objects.at_work().filter(
        is_well(), due, Exists(minimum), is_our_gateway=True
    )
    return gateways.exclude(admin_key="")


def bring_minimum(*, connection_id: int) -> str:
    """Compare one gateway with the organisation's minimum, and set it there if the
    gateway allows more. Store the gateway's minimum, and return the result in a few
    words.
    """
    connection = to_compare().filter(pk=connection_id).first()
    if connection is None:
        return "not due"
    wanted = OrganisationSettings.objects.get().minimum_oversight
    client = AdminClient(
        base_url=connection.api_url, key=connection.admin_key, within=WITHIN
    )
    try:
        account = client.ask("GET", "/v1/account")
        is_known = "minimum_oversight_mode" in account
        before = at_gateway = str(account.get("minimum_oversight_mode") or "")
        if is_known and (not before or is_minimum_lower(before, than=wanted)):
            body = {"minimum_oversight_mode": wanted}
            account = client.ask("PATCH", "/v1/account", body=body)
            at_gateway = str(account.get("minimum_oversight_mode") or "")
    except errors.UpstreamError as error:
        health.wait(connection, error)
        log.warning(
            "minimum not at the gateway",
            extra={"connection": connection.slug, "reason": error.sentence},
        )
        _store(connection, gate_minimum_error=error.sentence[:500])
        return "not now"
    if not is_known:
        _store(
            connection,
            gate_minimum_error="This gateway does not know a minimum oversight mode. Upgrade it.",
        )
        return "not known there"
    with transaction.atomic():
        _store(connection, gate_minimum=at_gateway, gate_minimum_error="")
        if at_gateway == before:
            return "there already"
        record(
            "oversight_minimum.brought",
            actor=ACTOR,
            connection=connection.pk,
            details={
                "connection": str(connection),
                "before": before or "any mode",
                "after": at_gateway,
            },
        )
    return "brought"


def _store(connection: Connection, **fields: str) -> None:
    Connection.objects.filter(pk=connection.pk).update(
        gate_minimum_checked_at=Now(), **fields
    )


@dataclass(frozen=True)
class GateMinimum:
    """Whether one connection's MultiMail has the organisation's minimum, in words."""

    connection: Connection
    tone: str
    word: str
    sentence: str


def gate_minimums(connections: QuerySet[Connection], minimum: str) -> list[GateMinimum]:
    """Return for each connection whether its MultiMail has the minimum, or why not.
    Empty if the organisation has no minimum.
    """
    return [_status(one, minimum) for one in connections] if minimum else []


def _status(connection: Connection, minimum: str) -> GateMinimum:
    has = connection.gate_minimum
    if not connection.is_our_gateway:
        sentence = "Hosted MultiMail knows no minimum. A looser mode set there is told within ten minutes."
        return GateMinimum(connection, "plain", "Only here", sentence)
    if not connection.admin_key:
        sentence = "The connection has no admin key."
        return GateMinimum(connection, "amber", "Not there", sentence)
    if has and is_minimum_lower(minimum, than=has):
        sentence = (
            f"The gateway's own minimum is {has}, which is stricter. Its operator lowers it: "
            f"gateway_limits --minimum-mode {minimum}."
        )
        return GateMinimum(connection, "blue", "Stricter there", sentence)
    error = connection.gate_minimum_error
    if has and not is_minimum_lower(has, than=minimum) and not error:
        sentence = "Its API refuses every looser mode."
        return GateMinimum(connection, "green", "At the gateway", sentence)
    if connection.paused_at:
        error = "The connection is paused."
    if error:
        return GateMinimum(connection, "amber", "Not there yet", error)
    return GateMinimum(connection, "blue", "On its way", "It is being brought there.")

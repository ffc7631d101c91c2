"""Loosens a mailbox's oversight: asked for by a key, allowed by a one-time code that a person passes on."""

import logging
from datetime import datetime, timedelta

from django.db import transaction

from gateway import auditing
from gateway.codes import LIFETIME, MAX_WRONG, fits, new_code
from gateway.errors import BadRequest, Forbidden, GatewayError, NotFound, TooManyRequests
from gateway.models import ApiKey, Mailbox, UpgradeRequest
from gateway.modes import Mode, stricter

log = logging.getLogger(__name__)

MAX_AN_HOUR = 3


def request_upgrade(*, key: ApiKey, mailbox: Mailbox, target: Mode, now: datetime) -> UpgradeRequest:
    """Store the wish for a looser mode with its code; an older wish of the mailbox ends.

    Raises BadRequest for a mode that is not looser, TooManyRequests for a fourth wish within an hour.
    """
    with transaction.atomic():
        mailbox = Mailbox.objects.select_for_update(no_key=True).get(pk=mailbox.pk)
        _check_looser(mailbox, target)
        _check_rate(mailbox, now)
        UpgradeRequest.objects.void(mailbox)
        request = UpgradeRequest.objects.create(
            mailbox=mailbox, target_mode=target, code=new_code(), requested_by_key=key, expires_at=now + LIFETIME
        )
        _note("mailbox.upgrade_requested", key, request)
    log.info("upgrade requested", extra={"mailbox": mailbox.pk, "target": target, "key": key.pk})
    return request


def upgrade(*, key: ApiKey, mailbox: Mailbox, code: str, now: datetime) -> Mailbox:
    """Loosen the mailbox as the wish says that this code is for. Raises NotFound when nothing waits, or Forbidden.

    The wish is locked: of two calls with one code the second finds it used. A wrong try is counted for good.
    """
    with transaction.atomic():
        # In the order of request_upgrade: the mailbox first.
        mailbox = Mailbox.objects.select_for_update(no_key=True).get(pk=mailbox.pk)
        request = UpgradeRequest.objects.waiting().filter(mailbox=mailbox).select_for_update().first()
        refusal = _refusal(request, code)
        if request is not None and refusal is None:
            was, mailbox.oversight_mode = mailbox.oversight_mode, request.target_mode
            mailbox.save(update_fields=["oversight_mode"])
            request.used_at = now
            request.save(update_fields=["used_at"])
            _note("mailbox.upgraded", key, request, was=was)
    if refusal is not None:
        log.info("upgrade refused", extra={"mailbox": mailbox.pk, "reason": refusal.code, "key": key.pk})
        raise refusal
    log.warning("mailbox upgraded", extra={"mailbox": mailbox.pk, "mode": mailbox.oversight_mode, "key": key.pk})
    return mailbox


def _refusal(request: UpgradeRequest | None, code: str) -> GatewayError | None:
    if request is None:
        return NotFound("No upgrade waits for a code. Call request-upgrade first.", code="no_pending_upgrade")
    if fits(code, request):
        return None
    if request.wrong_attempts >= MAX_WRONG:
        return Forbidden("The code is wrong, and was so too often: ask for the upgrade again.", code="wrong_code")
    return Forbidden("The code is wrong.", code="wrong_code")


def _check_looser(mailbox: Mailbox, target: Mode) -> None:
    if target == mailbox.oversight_mode:
        raise BadRequest(f"target_mode: the mailbox is {target} already.", code="same_mode", field="target_mode")
    if stricter(target, Mode(mailbox.oversight_mode)) is target:
        raise BadRequest(
            f"target_mode: {target} is stricter than {mailbox.oversight_mode} and needs no code. "
            "PATCH the mailbox's oversight_mode with an admin key.",
            code="stricter_mode",
            field="target_mode",
        )


def _check_rate(mailbox: Mailbox, now: datetime) -> None:
    recent = UpgradeRequest.objects.filter(mailbox=mailbox, created_at__gt=now - timedelta(hours=1))
    times = list(recent.order_by("-created_at").values_list("created_at", flat=True)[:MAX_AN_HOUR])
    if len(times) == MAX_AN_HOUR:
        free_in = times[-1] + timedelta(hours=1) - now
        raise TooManyRequests(
            f"Only {MAX_AN_HOUR} upgrades of a mailbox can be asked for within an hour.",
            code="too_many_upgrade_requests",
            retry_after=max(1, round(free_in.total_seconds())),
        )


def _note(action: str, key: ApiKey, request: UpgradeRequest, **facts: str) -> None:
    auditing.note_thing(
        action,
        account_id=key.account_id,
        kind="mailbox",
        thing_id=request.mailbox_id,
        key=key,
        mailbox_id=request.mailbox_id,
        request_id=request.pk,
        target_mode=request.target_mode,
        **facts,
    )

"""What tests and other people do to the stand-in: `POST /_control` with some of `ACTS`,
such as {"set": {"breaks_after": 1}}; `GET` shows everything.

Several acts of one request are carried out in their order. First comes `drain`, which
waits until all events were delivered or given up.
"""

import time
from dataclasses import asdict

from tests.hosted.host import HELD, Mail
from tests.hosted.temper import Temper


def shown(host):
    """Return everything that tests read."""
    with host.lock:
        return {
            "effects": [asdict(one) for one in host.effects],
            "mails": [
                {**asdict(mail), "mailbox": mail.mailbox.address}
                for mail in host.mails.values()
            ],
            "calls": host.calls,
            "temper": asdict(host.temper),
            "mailboxes": [asdict(mailbox) for mailbox in host.mailboxes.values()],
            "webhooks": [asdict(hook) for hook in host.webhooks.values()],
            "deliveries": [
                (one.event_type, one.status, one.attempts) for one in host.deliveries
            ],
        }


def carry_out(host, acts):
    """Carry out the acts of one request, in their order."""
    if acts.pop("drain", False):
        host.deliverer.waiting.join()
    answer = {}
    with host.lock:
        for name, given in acts.items():
            answer |= ACTS[name](host, given) or {}
    return answer


def _set(host, switches):
    for name, value in switches.items():
        if not hasattr(host.temper, name):
            raise KeyError(name)
        setattr(host.temper, name, value)


def _send(host, fields):
    mailbox = host.mailbox(fields.pop("mailbox", ""))
    email_id = host.new_id()
    values = {
        "to": ["dana@northwind.example"], "subject": "Your refund for order 4471",
        "markdown": "Hello **Dana**,\n\nyour refund is on its way.", "thread_id": f"thr_{host.number}", **fields,
    }  # fmt: skip
    agent = host.keys["mm_live_agent_key"].id
    mail = Mail(
        email_id, mailbox, "outbound", mailbox.address, status="pending_scan", received_at=host.now(),
        key_id=agent, **values,
    )  # fmt: skip
    host.accept(mail, mode=mailbox.oversight_mode)
    return {"id": mail.id}


def _receive(host, fields):
    mailbox = host.mailbox(fields.pop("mailbox", ""))
    values = {
        "sender": "dana@northwind.example", "subject": "Where is my refund?", "markdown": "Hello, where is it?",
        "thread_id": f"thr_{host.number}", **fields,
    }  # fmt: skip
    is_held = mailbox.oversight_mode == "gated_all"
    status = "pending_inbound_approval" if is_held else "unread"
    mail = Mail(
        host.new_id(),
        mailbox,
        "inbound",
        to=[mailbox.address],
        status=status,
        received_at=host.now(),
        **values,
    )
    host.mails[mail.id] = mail
    host.tell("pending" if is_held else "received", mail)
    return {"id": mail.id}


def _edit(host, fields):
    mail = host.mail(fields.pop("id"))
    for name, value in fields.items():
        setattr(mail, name, value)


def _decide(host, given):
    held = [mail.id for mail in host.mails.values() if mail.status in HELD]
    for email_id in given.get("ids", held):
        by = given.get("by", "kim@elsewhere.example")
        reason = given.get("reason", "")
        host.decide(
            host.mail(email_id), given.get("action", "approve"), by=by, reason=reason
        )


def _scopes(host, keys):
    for text, scopes in keys.items():
        key = host.keys.get(text) or host.add_key(text, text, [])
        key.is_active = scopes is not None
        key.scopes = scopes or []


def _rotate(host, secret):
    for hook in host.webhooks.values():
        hook.secret = secret


def _suppress(host, addresses):
    for address in addresses:
        row = {
            "id": address,
            "email_address": address,
            "reason": "hard_bounce",
            "mailbox_id": None,
        }
        host.suppressed.append(row | {"created_at": int(time.time() * 1000)})


ACTS = {
    # Forget everything, and have this temper.
    "begin": lambda host, switches: host.begin(Temper(**switches)),
    # Change switches of temper.py.
    "set": _set,
    # An agent sends a message, which is held; mail comes from outside. Both answer with
    # the id.
    "send": _send,
    "receive": _receive,
    # Somebody changes the message `id`.
    "edit": _edit,
    # Decisions elsewhere: about `ids`, or all that is held.
    "decide": _decide,
    # Keys have other scopes; null revokes one.
    "scopes": _scopes,
    # Webhooks have another secret.
    "rotate": _rotate,
    # Addresses get nothing any more.
    "suppress": _suppress,
    # Send events that were kept back, forwards or backwards.
    "release": lambda host, way: host.deliverer.release(backwards=way == "backwards"),
    # A path, and acts right before the next call to it is answered.
    "before": lambda host, given: host.before.append(
        (given[0], lambda: carry_out(host, dict(given[1])))
    ),
}

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
            "webhooks": [asdict(hook) for hook in host.webhooks.values()],
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
    mailbox = host.box
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
    values = {
        "sender": "dana@northwind.example", "subject": "Where is my refund?", "markdown": "Hello, where is it?",
        "thread_id": f"thr_{host.number}", **fields,
    }  # fmt: skip
    mail = Mail(
        host.new_id(), host.box, "inbound", to=[host.box.address], status="unread", received_at=host.now(), **values
    )  # fmt: skip
    host.mails[mail.id] = mail
    host.tell("received", mail)
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


def _know(host, address):
    now = int(time.time() * 1000)
    contact = {"id": "ctc_1", "name": "Dana", "email": address, "tags": []}
    host.contacts.append(contact | {"created_at": now})
    row = {"id": "sup_1", "email_address": address, "reason": "hard_bounce"}
    host.suppressed.append(row | {"mailbox_id": None, "created_at": now})
    entry = {"id": "alw_1", "pattern": address, "note": "", "added_at": host.now()}
    host.box.allowlist.append(entry | {"added_by": "key_1"})


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
    # An address is a contact's, gets nothing any more, and is on the allowlist.
    "know": _know,
    # Send events that were kept back, forwards or backwards.
    "release": lambda host, way: host.deliverer.release(backwards=way == "backwards"),
    # A path, and acts right before the next call to it is answered.
    "before": lambda host, given: host.before.append(
        (given[0], lambda: carry_out(host, dict(given[1])))
    ),
}

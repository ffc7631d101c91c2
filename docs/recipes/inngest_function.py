"""An Inngest function that sends a letter and waits for the decision, and the webhook
that wakes it.

Needs inngest, Django and requests (pip install inngest==0.5.19 "Django>=5,<6" requests)
and these variables: GATEWAY_URL, AGENT_KEY (scopes read and send), MAILBOX_ADDRESS,
SIGNING_SECRET (of a webhook for email.decided that points to /hooks/multimail here),
and Inngest's own: INNGEST_DEV for its dev server, else INNGEST_EVENT_KEY and
INNGEST_SIGNING_KEY. PORT is 8290 unless set.
"""

import datetime
import hashlib
import hmac
import json
import os
from typing import Any

import inngest
import inngest.django
import requests
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path

GATEWAY_URL = os.environ["GATEWAY_URL"]
AGENT_KEY = os.environ["AGENT_KEY"]
MAILBOX = os.environ["MAILBOX_ADDRESS"]
SECRET = os.environ["SIGNING_SECRET"].encode()
HOURS = 24 * 7
WAITING = ("pending_scan", "pending_send_approval", "scheduled")

client = inngest.Inngest(app_id="mail")


def call(method: str, path: str, **options: Any) -> dict[str, Any]:
    """Call the gateway. What may work later is left to Inngest to repeat; what cannot
    work ends the run.
    """
    headers = {"Authorization": f"Bearer {AGENT_KEY}"}
    response = requests.request(
        method, GATEWAY_URL + path, headers=headers, timeout=30, **options
    )
    if response.status_code == 429:
        wait = datetime.timedelta(seconds=int(response.headers.get("Retry-After", 60)))
        raise inngest.RetryAfterError("The gateway asks to wait.", wait)
    if 400 <= response.status_code < 500:
        raise inngest.NonRetriableError(response.json()["error"])
    response.raise_for_status()
    return response.json()


def send(letter: dict[str, Any], run_id: str) -> dict[str, Any]:
    """Send. Inngest may run a step twice: with the same key the gateway answers with
    the first message again.
    """
    return call(
        "POST",
        "/v1/send_email",
        json={
            "from": MAILBOX,
            "to": letter["to"],
            "subject": letter["subject"],
            "text": letter["text"],
            "metadata": {"run_id": run_id},
            "idempotency_key": f"inngest-{run_id}",
        },
    )


def look(message_id: str) -> dict[str, Any]:
    """Read how the message stands."""
    message = call("GET", "/v1/read_email", params={"id": message_id})
    return {name: message[name] for name in ("status", "decision", "reason")}


@client.create_function(
    fn_id="send-and-wait", trigger=inngest.TriggerEvent(event="app/letter.written")
)
def send_and_wait(ctx: inngest.ContextSync) -> dict[str, Any]:
    """Send the letter of the event, and end with what a person decided about it."""
    sent = ctx.step.run("send", send, ctx.event.data, ctx.run_id)
    message_id = sent["id"]
    for hour in range(HOURS):
        # An event that came before anybody waited for it wakes nobody. So look first,
        # and again every hour.
        state = ctx.step.run(f"look-{hour}", look, message_id)
        if state["decision"] or state["status"] not in WAITING:
            return {"message_id": message_id, **state}
        decided = ctx.step.wait_for_event(
            f"wait-{hour}",
            event="multimail/email.decided",
            if_exp=f"async.data.message_id == '{message_id}'",
            timeout=datetime.timedelta(hours=1),
        )
        if decided is not None:
            return {
                "message_id": message_id,
                **{
                    name: decided.data[name]
                    for name in ("status", "decision", "reason")
                },
            }
    return {
        "message_id": message_id,
        "status": "undecided",
        "decision": None,
        "reason": None,
    }


def receive(request: HttpRequest) -> JsonResponse:
    """Pass a signed webhook on to Inngest as an event: its name behind `multimail/`,
    the whole payload as data.
    """
    expected = (
        f"sha256={hmac.new(SECRET, request.body, hashlib.sha256).hexdigest()}".encode()
    )
    # After a rotation the new secret signs the second header for a day.
    given = [
        request.headers.get(f"X-MultiMail-Signature{which}", "").lower().encode()
        for which in ("", "-Next")
    ]
    if not any(hmac.compare_digest(one, expected) for one in given):
        return JsonResponse({"error": "The signature does not fit."}, status=401)
    payload = json.loads(request.body)
    # With its own id, so that Inngest takes an event that is delivered twice once.
    client.send_sync(
        inngest.Event(
            name=f"multimail/{payload['type']}", data=payload, id=payload["event_id"]
        )
    )
    return JsonResponse({"ok": True})


urlpatterns = [
    path("hooks/multimail", receive),
    inngest.django.serve(client, [send_and_wait]),
]
settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY=os.urandom(32).hex(),
    USE_TZ=True,
)

if __name__ == "__main__":
    execute_from_command_line(
        ["inngest_function", "runserver", "--noreload", os.environ.get("PORT", "8290")]
    )

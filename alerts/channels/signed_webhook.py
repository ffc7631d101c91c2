"""The channel for signed webhooks: posts each event to the address of a program that
the organisation runs, signed as the Standard Webhooks specification asks. It must not
import what builds cards for chat channels.
"""

import base64
import secrets

from django.conf import settings
from django.utils import timezone
from standardwebhooks import Webhook

from alerts.channels.base import TEST_EVENT, EventChannel, FormField, Posted
from alerts.channels.requests import DestinationGone
from alerts.models import Destination
from common.origins import origin_of
from common.postgres import clock

PREFIX = "whsec_"
# The specification asks for 24 to 64 bytes.
_SECRET_BYTES = 32


class SignedWebhook(EventChannel):
    """Sends events to a program that the organisation runs."""

    kind = "signed_webhook"
    label = "Signed webhook"
    service = "The receiver"
    summary = "Events for a program, signed as Standard Webhooks says. Enter its address; the desk makes the secret."
    makes_secret = True
    example = "https://hooks.yourteam.example/countersign"
    gone = (410,)
    when_accepted = f"The receiver accepted the test, an event of type {TEST_EVENT}."
    fields = (
        FormField(
            "url",
            "Address of the program",
            "Where the program receives webhooks; starts with https://.",
            required="Enter the address of the webhook.",
            is_secret=True,
        ),
    )
    refusals = {
        401: "The receiver refused the test (401). Check that it verifies the signature with this destination's "
        "secret.",
        403: "The receiver refused the test (403). Check that it verifies the signature with this destination's "
        "secret.",
        404: "There is no webhook receiver at this address (404). Check that it is complete.",
        405: "This address does not accept webhooks (405). Check that it is complete.",
        410: "The receiver no longer accepts webhooks (410). Ask its operator.",
    }

    def url_error(self, url: str) -> str:
        if error := super().url_error(url):
            return error
        if origin_of(url) == origin_of(settings.PUBLIC_URL):
            return "This is the desk's own address. Enter the address of the receiving program."
        return ""

    def new_secret(self) -> str:
        return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()

    def post_event(
        self, destination: Destination, body: bytes, *, event_id: str
    ) -> Posted:
        """Post one event, signed at this time; while the previous secret is still valid,
        with a second signature made with it.

        Raises DestinationGone, which switches the destination off, for a 410, a refused
        address or a missing secret. After any other answer than a 2xx the event is
        posted again later.
        """
        if not destination.secret:
            raise DestinationGone(
                "The destination has no signing secret. Create a new secret for it."
            )
        now = timezone.now()
        keys = [destination.secret]
        until = destination.secret_before_until
        if destination.secret_before and until and until > clock():
            keys.append(destination.secret_before)
        signatures = [
            Webhook(key).sign(msg_id=event_id, timestamp=now, data=body.decode())
            for key in keys
        ]
        headers = {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        return self.post_body(destination, body, headers=headers)


CHANNELS = (SignedWebhook(),)

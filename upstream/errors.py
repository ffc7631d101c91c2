"""The errors of calls to MultiMail: one class for each thing that the caller should do."""

from common.endings import known_ending
from common.references import with_reported
from common.unique_keys import text_in


class UpstreamError(Exception):
    """The root of these errors. `status` is the HTTP status, if there was an answer."""

    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


class NotSent(UpstreamError):
    """No byte was sent (the name look-up, the connection or TLS failed), so trying
    again is harmless.
    """


class Throttled(UpstreamError):
    """429: the desk must not call this MultiMail for `retry_after` seconds."""

    def __init__(self, sentence: str, *, retry_after: float) -> None:
        super().__init__(sentence, status=429)
        self.retry_after = retry_after


class KeyRefused(UpstreamError):
    """401: the key is missing, unknown or revoked. No call with it will work until
    somebody enters another key.
    """


class Forbidden(UpstreamError):
    """403: the key is known, but may not do this."""


class NotFound(UpstreamError):
    """404: MultiMail does not know the message in this account."""


class Conflict(UpstreamError):
    """409: the message is not pending, or has changed. The attributes have what
    MultiMail says about the message; they are empty if it says nothing.
    """

    def __init__(self, sentence: str, *, body: dict[str, object]) -> None:
        super().__init__(sentence, status=409)
        self.code = text_in(body, "code")
        self.message_status = text_in(body, "status")
        self.decision = text_in(body, "decision")
        self.decided_by = text_in(body, "decided_by")
        self.ended_by = known_ending(body.get("ended_by"))
        reason = text_in(body, "reason")
        self.reason = with_reported(
            reason, body.get("decision_reference"), self.decided_by
        )


class Rejected(UpstreamError):
    """400, 413 or 422: MultiMail does not accept the request. Repeating it is useless."""


class FieldsRefused(Rejected):
    """422 that names `fields` of the call which this MultiMail does not accept. Nothing
    happened: repeat the call without them.
    """

    def __init__(self, sentence: str, *, fields: tuple[str, ...]) -> None:
        super().__init__(sentence, status=422)
        self.fields = fields


class OutcomeUnknown(UpstreamError):
    """The call may have taken effect: a time-out, a reset, a 5xx, an answer that cannot
    be read. Read the state before acting again.
    """


class Unavailable(OutcomeUnknown):
    """503 with an answer of MultiMail's own: it cannot work at the moment. Our gateway says
    at the next reading whether it had carried the call out.
    """


class TooLarge(OutcomeUnknown):
    """The answer is longer than the caller allowed, so it was not read to its end."""

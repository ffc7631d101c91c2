"""What a call to MultiMail can end in, split by what the caller should do."""

from common.references import with_reported


class UpstreamError(Exception):
    """Root; `status` is the HTTP status where there was one."""

    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


class NotSent(UpstreamError):
    """Nothing was written to the wire (name look-up, connection refused, TLS): trying
    again is harmless.
    """


class Throttled(UpstreamError):
    """429: the whole connection waits `retry_after` seconds."""

    def __init__(self, sentence: str, *, retry_after: float) -> None:
        super().__init__(sentence, status=429)
        self.retry_after = retry_after


class KeyRefused(UpstreamError):
    """401: the key is missing, unknown or revoked. Nothing works until somebody puts
    another one in.
    """


class Forbidden(UpstreamError):
    """403: the key is known, but may not do this."""


class NotFound(UpstreamError):
    """404: MultiMail does not know the message in this account."""


class Conflict(UpstreamError):
    """409: not pending, or changed. The attributes have what MultiMail reports of the
    message, or are empty.
    """

    def __init__(self, sentence: str, *, body: dict[str, object]) -> None:
        super().__init__(sentence, status=409)
        self.code = str(body.get("code") or "")
        self.message_status = str(body.get("status") or "")
        self.decision = str(body.get("decision") or "")
        self.decided_by = str(body.get("decided_by") or "")
        reason = str(body.get("reason") or "")
        self.reason = with_reported(
            reason, body.get("decision_reference"), self.decided_by
        )


class Rejected(UpstreamError):
    """400, 413 or 422: the request itself was not accepted; the same one never will be."""


class FieldsRefused(Rejected):
    """422 that names fields of this call that MultiMail does not take: nothing
    happened, repeat it without them.
    """

    def __init__(self, sentence: str, *, fields: tuple[str, ...]) -> None:
        super().__init__(sentence, status=422)
        self.fields = fields


class OutcomeUnknown(UpstreamError):
    """The call may have taken effect: a time-out, a reset, a 5xx, an answer that cannot
    be read. Ask before acting.
    """


class TooLarge(OutcomeUnknown):
    """The answer has more bytes than were asked for; reading it ended there."""

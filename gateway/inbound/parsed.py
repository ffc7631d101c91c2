"""Has received mail read by the parser, in a process apart."""

from typing import Any

from gateway.attachments import File
from gateway.inbound.received_mail import Mail, NotAccepted, RecipientReport, Report
from parsing.client import ParserKilled, parse
from parsing.jobs import unpack

_NOT_SAFE = "554 5.6.0 The message cannot be read safely"


def read_mail(content: bytes) -> Mail:
    """Return the message in received bytes. Raises NotAccepted or ParserUnavailable."""
    try:
        fields, contents = unpack(parse("read_mail", content))
    except ParserKilled:
        raise NotAccepted(_NOT_SAFE) from None
    if "refusal" in fields:
        raise NotAccepted(str(fields["refusal"]))
    files = tuple(File(**one, content=held) for one, held in zip(fields["files"], contents, strict=True))
    return Mail(**{**fields, "files": files, "cut": tuple(fields["cut"]), "report": _report(fields["report"])})


def _report(fields: dict[str, Any] | None) -> Report | None:
    if fields is None:
        return None
    lists = {name: tuple(fields[name]) for name in ("message_ids", "return_addresses")}
    return Report(**{**fields, **lists, "result": tuple(RecipientReport(**one) for one in fields["result"])})

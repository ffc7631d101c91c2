"""Has received mail read by the parser, in a process apart."""

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
    fields["files"] = tuple(
        File(**one, content=held)
        for one, held in zip(fields["files"], contents, strict=True)
    )
    fields["cut"] = tuple(fields["cut"])
    if report := fields["report"]:
        result = tuple(RecipientReport(**one) for one in report["result"])
        lists = {
            name: tuple(report[name]) for name in ("message_ids", "return_addresses")
        }
        fields["report"] = Report(**report | lists | {"result": result})
    return Mail(**fields)

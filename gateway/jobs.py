"""What the parser does for the gateway: reads received mail, and turns HTML into text and Markdown into HTML."""

from dataclasses import asdict

from common.markdown import render_markdown
from gateway.html_text import text_of_html
from gateway.inbound.mail import read_mail
from gateway.inbound.received_mail import NotAccepted
from parsing.jobs import MEGABYTE, Job, pack


def _mail(content: bytes) -> bytes:
    try:
        mail = read_mail(content)
    except NotAccepted as refusal:
        return pack({"refusal": str(refusal)})
    fields = asdict(mail)
    contents = [one.pop("content") for one in fields["files"]]
    return pack(fields, *contents)


def _text(html: bytes) -> bytes:
    return text_of_html(html.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


def _markdown(text: bytes) -> bytes:
    return render_markdown(text.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


JOBS = {
    "read_mail": Job(_mail, seconds=10, memory=768 * MEGABYTE),
    "text_of_html": Job(_text),
    "render_markdown": Job(_markdown),
}

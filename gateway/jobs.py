"""The jobs that the parser's confined processes run for the gateway: reading received
mail, simplifying HTML, and turning Markdown into HTML.

Each job takes bytes and returns bytes. If the content cannot be processed, the first
two answer with a `refusal`, a sentence or an SMTP reply that says why.
"""

from dataclasses import asdict

from common.markdown import render_markdown
from gateway.inbound.mail import read_mail
from gateway.inbound.received_mail import NotAccepted
from parsing.jobs import MEGABYTE, Job, pack
from simple_form import TooComplex, simplify, text_of


def _mail(content: bytes) -> bytes:
    try:
        mail = read_mail(content)
    except NotAccepted as refusal:
        return pack({"refusal": str(refusal)})
    fields = asdict(mail)
    contents = [file.pop("content") for file in fields["files"]]
    return pack(fields, *contents)


def _simple(html: bytes) -> bytes:
    try:
        form = simplify(html.decode("utf-8", "surrogatepass"))
    except TooComplex as reason:
        return pack({"refusal": str(reason)})
    sentences = [change.sentence() for change in form.changes]
    return pack({"html": form.html, "text": text_of(form.html), "changes": sentences})


def _markdown(text: bytes) -> bytes:
    return render_markdown(text.decode("utf-8", "surrogatepass")).encode(
        "utf-8", "surrogatepass"
    )


JOBS = {
    "read_mail": Job(_mail, seconds=10, memory=768 * MEGABYTE),
    "simplify_html": Job(_simple),
    "render_markdown": Job(_markdown),
}

"""The jobs that the parser's confined processes run for the gateway: reading received
mail, simplifying HTML, and turning Markdown into HTML.

Each job takes bytes and returns bytes. If the content cannot be processed, the first
two answer with a `refusal`, a sentence or an SMTP reply that says why.
"""

# Modules that libraries import when they first need them, which confined processes
# cannot.
import email.generator  # noqa: F401
from dataclasses import asdict
from functools import partial

import idna.uts46data  # noqa: F401

from common.markdown import has_html, render_markdown
from common.parts import differences
from common.text_from_html import text_from_html
from gateway.inbound.mail import read_mail
from gateway.inbound.received_mail import NotAccepted
from parsing.jobs import MEGABYTE, Job, pack
from simple_form import TooComplex, simplify
from simple_form.result import LOOK

# What one sentence names of a lost layout.
MOST_LOOKS = 8


def _mail(content: bytes) -> bytes:
    try:
        mail = read_mail(content)
    except NotAccepted as refusal:
        return pack({"refusal": str(refusal)})
    fields = asdict(mail)
    contents = [file.pop("content") for file in fields["files"]]
    return pack(fields, *contents)


def _simplified(source: bytes, *, is_markdown: bool = False) -> bytes:
    # Simplifies HTML, or the HTML that a Markdown body with raw HTML in it becomes.
    # Markdown without any is left as it is: then all fields are empty.
    html = written = source.decode("utf-8", "surrogatepass")
    if is_markdown:
        html = render_markdown(written)
        if not has_html(written):
            return pack({"html": "", "text": "", "changes": []})
    try:
        form = simplify(html)
    except TooComplex as reason:
        return pack({"refusal": str(reason)})
    sentences = [one.sentence() for one in form.changes if one.code != LOOK]
    if looks := [one.how for one in form.changes if one.code == LOOK]:
        named = ", ".join(looks[:MOST_LOOKS])
        more = f" and {len(looks) - MOST_LOOKS} more" if looks[MOST_LOOKS:] else ""
        sentences.append(f"The layout was simplified: {named}{more}.")
    text = text_from_html(form.html)
    hides = any(one.passage for one in form.changes)
    if (
        is_markdown
        and not hides
        and differences(text_from_html(form.html, marked=True), written)
    ):
        # The desk names what its HTML says otherwise.
        text = written
    return pack({"html": form.html, "text": text, "changes": sentences})


def _markdown(text: bytes) -> bytes:
    markdown = text.decode("utf-8", "surrogatepass")
    html = render_markdown(markdown)
    if has_html(markdown):
        html = simplify(html).html
    return html.encode("utf-8", "surrogatepass")


JOBS = {
    "read_mail": Job(_mail, seconds=10, memory=768 * MEGABYTE),
    "simplify_html": Job(_simplified),
    "simplify_markdown": Job(partial(_simplified, is_markdown=True)),
    "render_markdown": Job(_markdown),
}

"""Every hostile mail of the corpus: what its head says must hold, and its document can
neither act nor load.
"""

import re
from html.parser import HTMLParser

from rendering.render import render_message
from simple_form.tree import TAGS
from tests.corpus import all_mails

MAILS = all_mails()
ATTRIBUTES = set(
    "style title src alt width height dir cellpadding value colspan rowspan class id".split()
)
MARK = re.compile(r"(?:hidden|link|part|ink)-[1-9][0-9]*")
PICTURE = re.compile(r"data:image/(?:png|jpeg|gif);base64,[A-Za-z0-9+/=]+")
STYLE = re.compile(r"(?:[a-z-]+:[a-zA-Z0-9#%., \-']+;)*")
FORBIDDEN_STYLE = re.compile(
    r"url|image|expression|position|z-index|content|behavior|binding|transform:|opacity|visibility|animation|@"
)


class Inspector(HTMLParser):
    """Reads the document again with another parser and collects everything that could
    act or load.
    """

    def __init__(self, body):
        super().__init__()
        self.wrong = []
        self.marks = []
        self.ids = []
        self.feed(body)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            value = value or ""
            if name not in ATTRIBUTES:
                self.wrong.append(f"{tag} {name}")
            if name == "src" and not PICTURE.fullmatch(value):
                self.wrong.append(f"{tag} src={value[:60]}")
            if name == "style" and (
                not STYLE.fullmatch(value) or FORBIDDEN_STYLE.search(value)
            ):
                self.wrong.append(f"{tag} style={value[:60]}")
            if name == "id":
                if value in self.ids or not MARK.fullmatch(value):
                    self.wrong.append(f"{tag} id={value[:60]}")
                self.ids.append(value)
            if name == "class":
                self.marks.append(value)
                if tag != "span" or value not in ("ghost", "blocked"):
                    self.wrong.append(f"{tag} class={value}")

    def handle_comment(self, data):
        self.wrong.append(f"<!--{data[:20]}")

    def handle_decl(self, decl):
        self.wrong.append(f"<!{decl[:20]}")

    def handle_pi(self, data):
        self.wrong.append(f"<?{data[:20]}")


def body_of(shown):
    """Return what lies inside our own frame of the document."""
    _, opening, body = shown.document.partition('<div class="message">')
    assert opening, "the document has no message"
    return body.removesuffix("</div></body></html>")


def wrong_with(mail):
    """Return what acts or loads in the document of a mail, and what of its head does
    not hold.
    """
    shown = render_message(mail.content)
    expected = mail.expected
    body = body_of(shown)
    found = Inspector(body)
    holds = {
        "shows": lambda part: part in body,
        "never": lambda part: part not in body,
        "differs": lambda text: any(text in one.passage for one in shown.differences),
        "exact": lambda expected: (
            ("yes" if not shown.differences else "no") == expected
        ),
        "blocked": lambda load: (
            load in [f"picture {blocked.host}" for blocked in shown.blocked]
        ),
        "link": lambda line: (
            line
            in [f"{flag} {link.target}" for link in shown.links for flag in link.flags]
        ),
        "mark": shown.invisibles.get,
        "doubt": lambda words: words in shown.doubt,
    }
    wrong = [
        f"{name}: {value}"
        for name in holds
        for value in expected.get(name, [])
        if not holds[name](value)
    ]
    if (
        bool(shown.doubt) != ("doubt" in expected)
        or "the desk had an error" in shown.doubt
    ):
        wrong.append(f"doubt: {shown.doubt!r}")
    return found.wrong + wrong + not_announced(mail, shown, found)


def not_announced(mail, shown, found):
    """Return what is neither marked in the message nor written out in its twin."""
    marked = {
        seen.mark for seen in (*shown.differences, *shown.blocked, *shown.links)
    } | {shown.inked}
    wrong = [f"no place: {mark}" for mark in marked - {""} - set(found.ids)]
    if (
        any(one.passage and one.mark for one in shown.differences) or shown.doubt
    ) and "ghost" not in found.marks:
        wrong.append("nothing tells of what may look different")
    return wrong


def test_hostile_mail_is_shown_inert_and_as_its_head_says():
    wrong = {mail.name: wrong_with(mail) for mail in MAILS}
    assert {
        name: differences for name, differences in wrong.items() if differences
    } == {}


def test_corpus_is_large_and_every_file_says_what_it_tries():
    assert len(MAILS) >= 100
    assert all(mail.expected.get("about") for mail in MAILS)

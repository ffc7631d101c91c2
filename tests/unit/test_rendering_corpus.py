"""Every hostile mail of the corpus: what its head says must hold, and its document can
neither act nor load.
"""

import re
from html.parser import HTMLParser

from rendering.render import render_message
from simple_form.tree import TAGS
from tests.corpus import all_mails

MAILS = all_mails()
# By attribute, which values are harmless. Patterns of styles have no address, no position
# and nothing that hides or adds words.
ATTRIBUTES = {
    **dict.fromkeys("title alt dir".split(), ".*"),
    **dict.fromkeys(
        "width height cellpadding value colspan rowspan".split(), "-?[0-9]+"
    ),
    "style": (
        r"((?![a-z-]*(?:image|(?<!style-)position|z-index|content|transform:|opacity|visib|anim))"
        r"[a-z-]+:[\w#%., '-]+;)*"
    ),
    "src": "data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=]+",
    "id": "(hidden|link|part|ink)-[1-9][0-9]*",
    "class": "ghost(?: on)?|blocked",
}


class Inspector(HTMLParser):
    """Reads the document again with another parser and collects everything that could
    act or load.
    """

    def __init__(self, document):
        super().__init__()
        self.wrong = []
        self.ids = []
        # What lies inside our own frame of the document.
        self.body = document.partition('<div class="message">')[2].removesuffix(
            "</div></body></html>"
        )
        self.feed(self.body)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if not re.fullmatch(f"(?s){ATTRIBUTES.get(name, '(?!)')}", value or ""):
                self.wrong.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.append(value)

    def handle_comment(self, data):
        self.wrong.append(f"<!{data}")

    handle_decl = handle_pi = handle_comment


def wrong_with(mail):
    """Return what acts or loads in the document of a mail, what of its head does not
    hold, and what is not marked in it.
    """
    shown = render_message(mail.content)
    found = Inspector(shown.document)
    passages = "\n".join(one.passage for one in shown.differences)
    holds = {
        "shows": found.body.__contains__,
        "never": lambda part: part not in found.body,
        "differs": passages.__contains__,
        "exact": ("no" if shown.differences else "yes").__eq__,
        "blocked": [f"picture {one.host}" for one in shown.blocked].__contains__,
        "link": [
            f"{flag} {link.target}" for link in shown.links for flag in link.flags
        ].__contains__,
        "mark": shown.invisibles.__contains__,
        "doubt": shown.doubt.__contains__,
    }
    wrong = [
        f"{name}: {value}"
        for name in holds
        for value in mail.expected.get(name, [])
        if not holds[name](value)
    ]
    if bool(shown.doubt) != ("doubt" in mail.expected):
        wrong.append(f"doubt: {shown.doubt}")
    marks = [one.mark for one in (*shown.differences, *shown.blocked, *shown.links)]
    if not {shown.inked, *marks} <= {"", *found.ids}:
        wrong.append("something found has no place in the document")
    if len(set(found.ids)) != len(found.ids):
        wrong.append("two places have one id")
    if shown.doubt and 'class="ghost"' not in found.body:
        wrong.append("nothing tells that it is the source")
    return found.wrong + wrong


def test_hostile_mail_is_shown_inert_and_as_its_head_says():
    wrong = {mail.name: wrong_with(mail) for mail in MAILS}
    assert {name: found for name, found in wrong.items() if found} == {}
    assert len(MAILS) >= 100

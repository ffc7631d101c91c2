"""Every hostile mail of the corpus: what its head says must hold, and its document can neither act nor load."""

import re
from html.parser import HTMLParser

import pytest

from approvals.showing import ShownLetter, show_letter
from approvals.showing.sanitise import SHOWN_TAGS
from tests.corpus import all_mails

MAILS = all_mails()
ATTRIBUTES = {"style", "title", "src", "alt", "width", "height", "start", "value", "colspan", "rowspan", "class", "id"}
MARK = re.compile(r"(?:hidden|link|part|ink)-[1-9][0-9]*")
STYLE = re.compile(r"(?:[a-z-]+:[a-zA-Z0-9#%.,() \-]+;)*")
FORBIDDEN_STYLE = re.compile(
    r"url|image|expression|position|z-index|content|behavior|binding|transform:|display|opacity|visibility|animation|@"
)


class Inspector(HTMLParser):
    """Reads the document again with another parser and collects everything that could act or load."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.marks: list[str] = []
        self.ids: list[str] = []
        self.feed(body)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in SHOWN_TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            value = value or ""
            if name not in ATTRIBUTES:
                self.wrong.append(f"{tag} {name}")
            if name == "src" and not re.fullmatch(
                r"data:image/(?:png|jpeg|gif|webp|bmp);base64,[A-Za-z0-9+/=]+", value
            ):
                self.wrong.append(f"{tag} src={value[:60]}")
            if name == "style" and (not STYLE.fullmatch(value) or FORBIDDEN_STYLE.search(value)):
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


def body_of(shown: ShownLetter) -> str:
    """Return what lies inside our own frame of the document."""
    _, opening, body = shown.document.partition('<div class="letter">')
    assert opening, "the document has no letter"
    return body.removesuffix("</div></body></html>")


@pytest.mark.proves("promise 8")
@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.name)
def test_hostile_mail_is_shown_inert_and_as_its_head_says(mail):
    shown = show_letter(mail.content)
    body = body_of(shown)
    expected = mail.expected

    found = Inspector(body)
    assert found.wrong == []
    marked = {seen.mark for seen in (*shown.hidden, *shown.blocked, *shown.links) if seen.mark} | {shown.inked} - {""}
    assert marked <= set(found.ids)
    assert "fault in the desk" not in shown.doubt
    assert [part for part in expected.get("shows", []) if part not in body] == []
    assert [part for part in expected.get("never", []) if part in body] == []
    for text in expected.get("hidden", []):
        assert any(h.certain and text in h.text for h in shown.hidden), shown.hidden
    for text in expected.get("maybe", []):
        assert any(not h.certain and text in h.text for h in shown.hidden), shown.hidden
    for how in expected.get("how", []):
        assert any(how in h.how for h in shown.hidden), shown.hidden
    if "clean" in expected:
        assert [h for h in shown.hidden if h.how != "text turned round by the bdo tag"] == []
    for load in expected.get("blocked", []):
        kind, _, host = load.rpartition(" ")
        assert any(b.kind == kind and b.host == host for b in shown.blocked), shown.blocked
    for line in expected.get("link", []):
        flag, _, target = line.partition(" ")
        assert any(flag in link.flags and link.target == target for link in shown.links), shown.links
    for name in expected.get("mark", []):
        assert shown.invisibles.get(name), shown.invisibles
    assert bool(shown.doubt) == ("doubt" in expected), shown.doubt
    for words in expected.get("doubt", []):
        assert words in shown.doubt


def test_corpus_is_large_and_every_file_says_what_it_tries():
    assert len(MAILS) >= 100
    assert [mail.name for mail in MAILS if not mail.expected.get("about")] == []


@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.name)
def test_hidden_and_blocked_things_are_announced_in_the_letter_and_its_twin(mail):
    shown = show_letter(mail.content)
    marks = Inspector(body_of(shown)).marks
    if any(hidden.text for hidden in shown.hidden) or shown.doubt:
        assert "ghost" in marks
    if "markdown" not in mail.expected.get("part", []) and not shown.doubt:
        assert [h for h in shown.hidden if h.certain and h.text and h.text not in shown.text] == []

"""The published rules for findings: name, level, and what each looks for in words.
Pages show them, and docs/findings.md has the same list.

A rule's name never changes. Its version is raised with every change after which an old
message could get another finding, because findings are stored with the revisions that
they are about.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from common.tables import table_rows

Level = Literal["high", "notice"]


@dataclass(frozen=True)
class Rule:
    """A published rule. `words` is its short name on lists, `about` says what a finding
    means, and `looks_for` how it is found.

    `level` is that of its worst finding; a check can make a milder finding, but none
    that is worse.
    """

    name: str
    version: int
    level: Level
    words: str
    about: str
    looks_for: str


# Name, version, level, words, about and looks_for; the worst first.
_TABLE = """
lookalike_recipient | 4 | high | look-alike | An address resembles a known one. |
    Compares each unknown domain with your own and those written to before: look-alike characters, a single
    typo, a known domain inside another. Milder: a name one letter away from a known person's at the same
    domain, and more unknown addresses than are compared.
unsafe_content | 1 | high | could not be read safely |
    The message or a file could not be read safely, so its source is shown. |
    Found when reading took more time or memory than a message may take, or made the reading program crash,
    twice. It is not tried again by itself.
attachment_runs_code | 3 | high | runs code | An attachment can run code when it is opened. |
    Checks names and declared types, and, once a file was fetched, its bytes and the names in a zip archive:
    programs, scripts, macros, disk images, reversed names and double extensions. Milder: pages that open in a
    browser.
program_in_text | 1 | high | program in the text | The text has a program written out in it. |
    Looks for files as uuencode writes them, and for base64 or hexadecimal digits that begin like a program or an
    archive.
risky_attachment | 1 | high | risky file | An attachment is not what it says, or cannot be checked. |
    Checks the bytes of each file once it was fetched: a name or declared type of another kind, scripts and
    forms in a PDF, templates from elsewhere, private keys, what is encrypted, broken or too large to be opened,
    files that would be written outside their folder, and bytes that the message's fingerprint does not name.
link_text_lies | 4 | high | misleading link | A link's text names a different address from the one it opens. |
    Compares the registered domain, mail address or phone number in a link's text with the one it opens, writes
    to or calls, also by Skype, FaceTime, WhatsApp, Telegram, Signal or Viber, whatever characters its dots are.
    The link's title, its picture's alternative text and the words beside it count as text.
looks_different | 2 | high | may be seen differently | The recipient may see this differently. |
    The desk shows a simple form of the message. High for words that the original hides in a plain way: not
    displayed, invisible, without size, out of the window, in the colour of what is behind them, or spelled in
    characters that nobody sees; and for encoded words. Milder: words that only lists of messages show, if they
    have numbers or addresses that are nowhere else; and anything else that is not on the list of what looks the
    same in every program. It may hide words, too, and is never approved in bulk.
secret_in_body | 2 | high | secret | The message may contain a key or password. |
    Looks for the formats of well-known keys and tokens, private keys, passwords in addresses, and
    random-looking values that the text calls a password or key. Evidence is masked.
parts_differ | 6 | high | parts differ | The HTML and the text of the message say different things. |
    Compares the words of both parts, one by one: each word, number and sign that only one of them has, with the
    words around it; tags in the text count as words. Layout and a link's address in place of its words do not
    count, unless the HTML has no link there. Of Markdown: what its HTML does not show. Milder: the subject
    names a sum that the message does not.
name_says_address | 3 | high | misleading name | A display name contains a different address. |
    Checks the display names of sender and recipients: another mail address in a name hides the real one, and a
    sender with one is unclear. Milder: only another domain, or another person at the same domain.
odd_address | 3 | high | odd address | An address is written in a way that misleads. |
    Looks for % or ! before the @, which may forward mail to somebody else, for what old mail servers may run
    there (-oQ, a pipe, /file), and for a number or a single name instead of a domain. In unknown addresses:
    letters of several scripts in one word, or of one script that all look Latin. Milder: a domain with
    non-Latin letters, which is spelled out.
reply_elsewhere | 2 | high | replies elsewhere | Replies go to a different domain from the sender's. |
    Compares the domain of Reply-To with that of the sender and your own. Milder: the address is known.
rejected_before | 2 | high | rejected before | A message like this one was rejected. |
    Compares the message with those rejected on the same connection in the last 90 days: the same except for
    names, numbers and dates. Requested changes and expired messages do not count.
restored | 1 | high | restored |
    The message was waiting when the backup was made from which the desk was restored. |
    Added to every message that waits at the built-in gateway when a backup is restored: it may have been
    approved and sent after the backup was made.
shown_as_source | 1 | high | not rendered | The message could not be rendered, so its source is shown. |
    Found when a message is too deeply nested, too large or too broken to be rendered reliably.
invisible_characters | 2 | high | invisible marks | The message contains invisible characters. |
    Finds invisible characters that join, split or reverse text, strokes through letters, and 20 or more blanks
    in a row, in both parts of the body, subject, addresses and file names. Milder: those that some languages
    need.
odd_link | 4 | high | odd link | A link's address is written in a way that misleads. |
    Looks for a name before an @, look-alike dots, mixed scripts, links that run something, and links that write
    to somebody else too (cc, bcc, a second address), whom their words do not name. Milder: IP addresses,
    punycode, unusual ports and schemes.
many_recipients | 2 | high | many people | The message goes to many people. |
    Counts all recipients, including added copies: more than 50. Milder: more than 10.
payment_details | 2 | high | payment | The message contains a bank account or card number. |
    Finds card numbers by their check digit. Milder: bank accounts (IBAN), by country, length and check digits.
    Evidence is masked.
greeting_differs | 1 | notice | wrong greeting | The greeting does not match the recipient. |
    Reads greetings in a dozen languages and compares the name with the recipients' names and addresses. No
    finding if either may not be a name.
first_contact | 2 | notice | first contact | Nobody here had written to this address before this message. |
    Checks whether this connection has written to each outside recipient. Silent until it has sent something.
remote_content | 1 | notice | remote content | The message would load remote content. |
    Counts pictures, style sheets and other content that tell their host when the message is opened.
cut_by_gmail | 1 | notice | long | Gmail shows only the beginning of the message. |
    More than 102 kB of HTML, or of the text that becomes it.
not_visible | 1 | notice | parts not visible | Some fields cannot be read with this connection's key. |
    Names the fields that MultiMail did not show. They may not be empty.
"""
RULES = {
    name: Rule(
        name,
        int(version),
        "high" if level == "high" else "notice",
        words,
        about,
        looks_for,
    )
    for name, version, level, words, about, looks_for in table_rows(_TABLE)
}


def rules_in_words(names: Iterable[str], most: int) -> str:
    """Return the short names of the first rules of these names: "look-alike, secret"."""
    published = (RULES[name].words for name in names if name in RULES)
    return ", ".join(islice(published, most))

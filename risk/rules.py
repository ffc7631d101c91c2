"""The published rules: their names, what they look for in words, and what a finding of each counts.

A name never changes. A version is raised with every change that could judge an old message differently: findings are
stored with the revision they were made for. docs/findings.md lists the same.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["high", "notice"]


@dataclass(frozen=True)
class Rule:
    """A rule as it is published: `words` are what the list shows, `about` says what a finding means.

    `level` and `points` are those of its worst finding; a rule may call one of its findings milder, never worse.
    """

    name: str
    version: int
    level: Level
    points: int
    words: str
    about: str
    looks_for: str
    # Each finding brings points of its own; then `points` and an admin's weight count for none.
    points_by_finding: bool = False


# In the order of weight: the first is the worst.
RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "lookalike_recipient", 3, "high", 70, "look-alike",
            "An address resembles a known one.",
            "Compares each domain that is not known with your own and those written to before: letters that pass for "
            "others, one slip of the hand, a known domain inside another. Milder: a name one letter from a known "
            "person's at the same domain.",
        ),
        Rule(
            "attachment_runs_code", 2, "high", 70, "runs code",
            "An attachment can run code when it is opened.",
            "Looks at names and declared types: programs, scripts, macros, disk images, names turned round or with two "
            "endings. Milder: pages that a browser opens.",
        ),
        Rule(
            "link_text_lies", 2, "high", 60, "link lies",
            "A link's text names another address than it opens.",
            "Compares the registered domain or mail address that a link's text names with the one it goes to, whatever "
            "its dots look like. Its title, the text in place of its picture, and the words beside it count as text.",
        ),
        Rule(
            "hidden_text", 3, "high", 60, "hidden text",
            "The message holds text that its recipient would not see.",
            "Finds text in the colour of its ground, of no size, off screen, clipped, not displayed or written in "
            "invisible or encoded characters. Milder: what only some mail programs hide, cut off or add, and what may "
            "be hidden by styles that the desk does not follow.",
        ),
        Rule(
            "reordered_text", 1, "high", 60, "other order",
            "The message is laid out in another order than it is written.",
            "Follows floats, ordered and reversed items, parts of tables, positions, negative margins and text turned "
            "round. Milder: what only some windows or mail programs lay out so.",
        ),
        Rule(
            "secret_in_body", 2, "high", 60, "secret",
            "The message seems to hold a key or password.",
            "Looks for the shapes of well-known keys and tokens, private keys, passwords in addresses, and values that "
            "the text calls a password or key and that look made by a machine. Evidence is masked.",
        ),
        Rule(
            "parts_differ", 2, "high", 60, "parts differ",
            "The HTML and the text of the message say different things.",
            "Compares the numbers of both parts: one says 100, the other 1000. Milder: the text names an "
            "address that the HTML does not, or most of the words differ.",
        ),
        Rule(
            "name_says_address", 1, "high", 60, "name lies",
            "A name shown beside an address is another address.",
            "Reads the names of sender and recipients: one that holds another mail address hides the real one. Milder: "
            "it names another domain only, or another person at the same one.",
        ),
        Rule(
            "odd_address", 2, "high", 60, "odd address",
            "An address is written in a way that misleads.",
            "Looks for % or ! before the @, which may send mail on to somebody else, and for a number or a single name "
            "in place of a domain. Of addresses that are not known: letters of several scripts in one word, or of one "
            "script that all pass for Latin ones. Milder: a domain with letters outside plain Latin, which is spelled "
            "out.",
        ),
        Rule(
            "off_allowlist", 2, "high", 60, "off the list",
            "A recipient was on no allowlist when the message was read.",
            "Asks the allowlists in force about each recipient; they are asked again when it is decided. Milder: the "
            "lists only watch.",
        ),
        Rule(
            "reply_elsewhere", 1, "high", 50, "reply elsewhere",
            "Answers go to another domain than the message comes from.",
            "Compares the domain of Reply-To with that of the sender and your own. Milder: the address is known.",
        ),
        Rule(
            "rejected_before", 1, "high", 50, "rejected before",
            "A message like this one was rejected.",
            "Compares the message with what was rejected on the same connection in the last 90 days: the same but for "
            "names, numbers and dates. Milder: it differs in a few words. "
            "What was returned for changes, or ran out of time, does "
            "not count.",
        ),
        Rule(
            "restored", 1, "high", 50, "restored",
            "The message was waiting when a backup was made that the desk was restored from.",
            "Is put on everything that waits at this product's own gateway when a backup is restored: it may have been "
            "approved and sent after the backup was made.",
        ),
        Rule(
            "shown_as_source", 1, "high", 50, "not laid out",
            "The message could not be laid out: its source is shown.",
            "Says so where a message is too deep, too large or too broken to be laid out with certainty.",
        ),
        Rule(
            "invisible_characters", 1, "high", 50, "invisible marks",
            "The message holds characters that show nothing.",
            "Finds characters that join, part or turn text round unseen, in body, subject, addresses and file names. "
            "Milder: those that ordinary writing needs.",
        ),
        Rule(
            "odd_link", 3, "high", 50, "odd link",
            "A link's address is written in a way that misleads.",
            "Looks for a name before an @, dots written as other characters, mixed scripts and links that act. Milder: "
            "bare numbers, punycode, unusual ports and schemes.",
        ),
        Rule(
            "many_recipients", 2, "high", 50, "many people",
            "The message goes to many people.",
            "Counts everybody who gets it, added copies included: more than 50. Milder: more than 10.",
        ),
        Rule(
            "payment_details", 2, "high", 50, "payment",
            "The message holds a bank account or card number.",
            "Finds card numbers by their check digit. Milder: bank accounts (IBAN), by country, length and check "
            "digits. Evidence is masked.",
        ),
        Rule(
            "own_word", 1, "high", 50, "own word",
            "The message holds a word that your team looks for.",
            "Compares subject, text, file names and addresses with the words, phrases and patterns that admins entered "
            "under Own words. Each has points of its own, 1 to 100.",
            points_by_finding=True,
        ),
        Rule(
            "greeting_differs", 1, "notice", 30, "greets another",
            "The message greets somebody else than it goes to.",
            "Reads the salutation in a dozen languages and compares its name with the recipients' names and addresses. "
            "Silent where either may not be a name.",
        ),
        Rule(
            "first_contact", 2, "notice", 10, "first contact",
            "Nobody here has written to this address before.",
            "Looks each recipient outside up in what this connection has sent. Silent until something was sent.",
        ),
        Rule(
            "remote_content", 1, "notice", 5, "remote content",
            "The message would load something from elsewhere.",
            "Counts pictures, style sheets and the like that tell their host when the message is opened.",
        ),
        Rule(
            "not_visible", 1, "notice", 5, "parts unseen",
            "Some fields cannot be read with this connection's key.",
            "Names the fields that MultiMail did not show: they are unknown, which is not empty.",
        ),
    )
}  # fmt: skip

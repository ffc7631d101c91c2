"""The check of attached files by their names and declared types: which of them can run
code. Their bytes are read elsewhere (`mirror.attachments.detection`); what these tell
makes the same finding (`runs_code`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from common.fingerprint import Content
from rendering import RenderedMessage, found_in, named, stripped
from rendering.invisibles import BIDI
from risk.findings import ATTACHMENTS, Finding, RiskContext, finding, one_word, quoted
from risk.rules import RULES, Level

# Endings of files that run code when they are opened, or that start, install or load
# what does. Those that Outlook and Gmail block are among them, but for certificates,
# archives, mail and temporary files. They are of Windows, its scripts, Office and databases, Linux and
# macOS, languages of any system, telephones and browsers, and images of disks.
_RUNS = frozenset(
    Path(__file__).with_name("endings_of_programs.txt").read_text("utf-8").split()
)
_OPENS_IN_BROWSER = frozenset("html htm xhtml shtml mht mhtml svg svgz xml xsl".split())
# Endings that are put before another one, so that a program looks like a document.
_LOOKS_HARMLESS = frozenset(
    "pdf doc docx xls xlsx ppt pptx odt ods txt rtf csv jpg jpeg png gif webp mp3 mp4 zip eml htm html".split()
)
# How the declared content types of files that run code begin.
_TYPES = tuple(
    """
application/x-msdownload application/x-msdos-program application/x-ms-shortcut
application/x-msi application/x-dosexec application/x-executable application/x-sh
application/x-bat application/x-mach-binary application/x-elf application/x-javascript
application/x-apple-diskimage application/x-iso9660-image application/x-java-archive
application/vnd.microsoft.portable-executable application/java-archive
application/javascript application/hta application/vnd.android.package-archive
application/x-ms-application application/x-ms-xbap application/x-ms-vsto
application/msaccess application/x-msaccess application/x-csh application/x-perl
application/x-php application/x-ruby application/x-tcl application/x-rpm
application/x-python application/x-bytecode application/vnd.debian.binary-package
application/x-desktop text/javascript text/vbscript text/x-sh text/x-csh text/x-perl
text/x-python text/x-ruby
""".split()
)


def attachment_runs_code(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Attachments that run code when opened, or that hide what they are."""
    for attachment in content.attachments:
        why, level = why_dangerous(attachment.name, attachment.content_type)
        if why:
            yield runs_code(attachment.name, f"{why}.", is_milder=level == "notice")


def runs_code(
    file_name: str,
    why: str,
    *,
    is_milder: bool = False,
    rule: str = "attachment_runs_code",
) -> Finding:
    """Return the finding that an attached file can run code, or what else its bytes
    gave away; `why` is a sentence.
    """
    name = named(file_name)
    sentence = RULES[rule].about
    if is_milder:
        sentence = "An attachment is a web page that opens in the browser."
    return finding(
        rule,
        sentence,
        f"{quoted(name, 120)}: {why}",
        (name,),
        is_milder=is_milder,
        anchor=ATTACHMENTS,
    )


def why_dangerous(
    file_name: str, content_type: str = ""
) -> tuple[str, Level | Literal[""]]:
    """Return why an attachment can run code when it is opened, and the level of the
    finding; both empty if its name and type do not say so.
    """
    # Windows drops blanks and dots at the end of a name, and makes "a.exe" of
    # "a.exe:b.txt".
    for name in last_part(file_name).lower().split(":"):
        endings = [one.strip() for one in name.strip().rstrip(". ").split(".")][1:]
        ending = endings[-1] if endings else ""
        if ending in _RUNS:
            break
    if set(found_in(file_name)) & BIDI:
        return (
            f"its name is reversed to look like another type; it ends in .{one_word(ending)[:40]}",
            "high",
        )
    if ending in _RUNS:
        if len(endings) > 1 and endings[-2] in _LOOKS_HARMLESS:
            return f"named like a .{endings[-2]}, but a .{ending}", "high"
        return f".{ending} files run", "high"
    declared = content_type.strip()
    kind = declared.lower()
    has_macros = kind.startswith("application/vnd.ms-") and "macroenabled" in kind
    if kind.startswith(_TYPES) or has_macros:
        return f"declared as {one_word(declared[:80])}", "high"
    if ending in _OPENS_IN_BROWSER:
        return f".{ending} files can contain scripts", "notice"
    return "", ""


def last_part(name: str) -> str:
    """Return a file's name without folders and without invisible characters."""
    return stripped(name).replace("\\", "/").rpartition("/")[2]

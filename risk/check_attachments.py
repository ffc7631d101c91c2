"""Checks of attached files by their names and declared types."""

import re
from collections.abc import Iterator
from typing import Literal

from common.fingerprint import Attachment, Content
from rendering import RenderedMessage, found_in, named, stripped
from rendering.invisibles import BIDI
from risk.findings import ATTACHMENTS, Finding, RiskContext, finding, one_word, quoted
from risk.rules import Level

_RUNS = frozenset(
    "exe scr com bat cmd ps1 psm1 vbs vbe js jse mjs wsf wsh hta msi msp mst msix appx appxbundle jar jnlp lnk url pif "
    "cpl dll sys ocx reg inf scf iso img vhd vhdx dmg pkg app command sh bash run elf apk ipa deb rpm py pyw "
    "pyz pl rb php docm dotm xlsm xlsb xltm xlam xll pptm potm ppam ppsm sldm one chm gadget "
    "application settingcontent-ms library-ms search-ms theme website desktop workflow action xpi crx "
    "scpt ade adp mdb accde rdp msc iqy oqy dqy rqy slk odc diagcab diagpkg appinstaller msixbundle appref-ms ws wsc "
    "sct ps1xml psc1 psd1 job hlp grp xbap xla xlb ppa wll webloc inetloc terminal fileloc scptd vbscript".split()
)
_OPENS_IN_BROWSER = frozenset(
    {"html", "htm", "xhtml", "shtml", "mht", "mhtml", "svg", "svgz", "xml", "xsl"}
)
_LOOKS_HARMLESS = frozenset(
    "pdf doc docx xls xlsx ppt pptx odt ods txt rtf csv jpg jpeg png gif webp mp3 mp4 zip eml htm html".split()
)
_TYPES = re.compile(
    r"application/(?:x-(?:msdownload|msdos-program|ms-shortcut|msi|dosexec|executable|sh|shellscript|bat|mach-binary|"
    r"elf|javascript|apple-diskimage|iso9660-image|java-archive|sharedlib)|vnd\.microsoft\.portable-executable|"
    r"java-archive|javascript|hta|vnd\.android\.package-archive|vnd\.ms-[a-z]+\.[a-z.]*macroenabled[a-z.0-9]*)"
    r"|text/(?:javascript|vbscript|x-(?:sh|python|shellscript))",
    re.IGNORECASE,
)


def attachment_runs_code(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Attachments that run code when opened, or that hide what they are."""
    for attachment in content.attachments[:100]:
        why, level = why_dangerous(attachment)
        if why:
            name = named(attachment.name)
            is_milder = level == "notice"
            sentence = "An attachment can run code when it is opened."
            if is_milder:
                sentence = "An attachment is a web page that opens in the browser."
            detail = f"{quoted(name, 120)}: {why}."
            yield finding(
                "attachment_runs_code",
                sentence,
                detail,
                (name,),
                is_milder=is_milder,
                anchor=ATTACHMENTS,
            )


def why_dangerous(attachment: Attachment) -> tuple[str, Level | Literal[""]]:
    """Return why an attachment can act when opened, and the level; empty when nothing
    says that it can.
    """
    # Windows drops spaces and dots at the end of a name; what comes before a stray null
    # is a name of its own.
    name = (
        re.split(r"[/\\]", stripped(attachment.name))[-1].strip().rstrip(". ").lower()
    )
    endings = name.split(".")[1:]
    ending = endings[-1].strip() if endings else ""
    turned = set(found_in(attachment.name)) & BIDI
    if turned:
        return (
            f"its name is reversed to look like another type; it ends in .{one_word(ending)[:40]}",
            "high",
        )
    if ending in _RUNS:
        if len(endings) > 1 and endings[-2].strip() in _LOOKS_HARMLESS:
            return f"named like a .{endings[-2].strip()}, but a .{ending}", "high"
        return f".{ending} files run", "high"
    if _TYPES.match(attachment.content_type.strip()):
        return f"declared as {one_word(attachment.content_type.strip()[:80])}", "high"
    if ending in _OPENS_IN_BROWSER:
        return f".{ending} files can contain scripts", "notice"
    return "", ""

"""Detects what an attached file really is, by its bytes, and what a reviewer must know
about it, such as macros or a misleading name. Nothing is unpacked or run.

A file may be hostile, so this code runs only in the confined processes of the parser.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from html import unescape
from itertools import islice

from mirror.attachments.file_types import (
    KINDS,
    Detection,
    Event,
    Flag,
    Kind,
    by_magic,
    claimed_by_ending,
    claimed_by_type,
    claimed_kinds,
    ending_of,
    flags_of_name,
    with_article,
)
from mirror.attachments.renderings.calendars import read_events
from mirror.attachments.renderings.pdf_pages import all_objects
from mirror.attachments.zip_archives import (
    BOMB_SIZE,
    BOMB_TIMES,
    MAX_ENTRIES,
    Member,
    UnreadableDirectory,
    beginning,
    end_of_directory,
    is_certain,
    unpacked,
    zip_members,
)
from rendering import named
from rendering.links import hosts_in
from rendering.pictures import size_of
from risk.check_files import why_dangerous
from risk.findings import one_word, quoted
from risk.sums import read_sums

# How many entries of an archive are listed by name; the others are only counted.
MAX_LISTED = 200
# Kinds of files that can hold others.
_HOLDERS = frozenset("zip archive tnef mail msg smime".split())
# How other archives begin that programs find in any file.
_BEGINNINGS = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
# The kind of an Office file, by a folder in its archive.
_OFFICE = {"word/": "docx", "xl/": "xlsx", "ppt/": "pptx"}
# Where an Office file declares the types of its parts, how many bytes of that are read,
# and the types of macros.
_PART_TYPES = "[content_types].xml"
MAX_PART_TYPES = 1024 * 1024
_MACROS = re.compile("vbaProject|macroSheet|macroEnabled", re.I)
# How many characters of a text decide of what kind it is.
_HEAD = 4096
# Pairs of kinds that do not contradict each other: the claimed one, and the detected
# one.
_SAME = frozenset(
    tuple(pair.split("-"))
    for pair in """
    xml-html xml-svg html-xml svg-archive ole-rtf ole-csv ole-locked docx-locked xlsx-locked pptx-locked
    zip-docx zip-xlsx zip-pptx zip-odf jar-zip apk-zip apk-jar msg-ole
    """.split()
)
# The name of the first element of an HTML, SVG or XML file.
_MARKUP = re.compile(
    r"\s*+(?:<\?xml[^?>]{0,200}+\?>\s*+|<!--(?:[^-]|-(?!->)){0,2000}+-->\s*+)*+<(!doctype\s++)?+([a-z:][a-z0-9:]*+)",
    re.I,
)
# The name of what holds an Office file that is encrypted.
_LOCKED = "EncryptedPackage".encode("utf-16-le")
# With one of these elements a web page may begin.
_PAGES = frozenset(
    "html head body script style table div p a img meta iframe form br span b i h1 center font".split()
)
# What in a file a reviewer must know: its kinds, the level of the flag and what it means,
# a pattern of its bytes, and the sentence. A PDF is read with its packed objects, a text
# in UTF-8.
_CONTENTS = [
    (kinds.split(), re.compile(pattern.encode()), Flag(level, sentence, means))
    for kinds, words, pattern, sentence in (
        (
            "pdf",
            "high",
            "/JavaScript",
            "It contains JavaScript, which some PDF readers run.",
        ),
        ("pdf", "high runs", "/Launch", "It can start a program."),
        (
            "pdf",
            "high",
            "/SubmitForm",
            "It can send what is written into its fields to another address.",
        ),
        ("pdf", "notice", r"/GoTo[ER]\b", "It can open another file."),
        (
            "pdf",
            "notice",
            "/RichMedia",
            "It contains sound, film or other media, which some PDF readers play.",
        ),
        ("pdf", "notice", "/EmbeddedFile", "It contains other files."),
        (
            "pdf",
            "notice",
            "/XFA",
            "Some PDF readers show a form in it (XFA) that is not drawn here.",
        ),
        (
            "pdf",
            "notice",
            "/Encrypt",
            "It is encrypted or protected, so its content cannot be checked here.",
        ),
        (
            "pdf",
            "notice",
            r"/OFF(?!\w)(?!\s{0,9}+\[\s{0,9}+\])",
            "It has a hidden layer, which is not drawn here.",
        ),
        (
            "docx xlsx pptx",
            "high runs",
            r"vbaProject\.bin",
            "It contains macros, which run when it is opened.",
        ),
        (
            "docx xlsx pptx",
            "high runs",
            "/activeX/",
            "It contains controls, which can run.",
        ),
        ("docx xlsx pptx", "notice", "/embeddings/", "It contains other files."),
        (
            "ole",
            "high runs",
            r"_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T",
            "It contains macros, which run when it is opened.",
        ),
        # How Windows Installer marks packages, patches and transforms.
        (
            "ole",
            "high runs",
            r"[\x82\x84\x86]\x10\x0c\0{5}\xc0\0{6}F",
            "It installs a program.",
        ),
        ("archive tnef", "notice hides", "", "Its content cannot be listed here."),
        (
            "unknown",
            "notice hides",
            "",
            "Its kind is not known, so it may contain anything.",
        ),
        ("mail", "notice hides", "", "It can contain other files."),
        (
            "pgp",
            "notice hides",
            "-BEGIN PGP MESSAGE-",
            "It is encrypted, so its content cannot be listed here.",
        ),
        # Encrypted, or signed with its content: that of a mere signature is 11 bytes long.
        (
            "smime",
            "notice hides",
            r"\x06\x09\*\x86H\x86\xf7\x0d\x01\x07\x03",
            "It can contain other files.",
        ),
        (
            "smime",
            "notice hides",
            r"[^\x0b]\x06\x09\*\x86H\x86\xf7\x0d\x01\x07\x01\xa0",
            "It can contain other files.",
        ),
        (
            "rtf",
            "high runs",
            r"\\obj[deu]",
            "It contains an embedded object, which can run.",
        ),
        (
            "rtf",
            "high",
            r"\\template\s{0,9}+[FHfh\\]",
            "It loads a template from another address when it is opened.",
        ),
        ("html svg", "notice", "", "It opens in the browser and can contain scripts."),
        (
            "key",
            "high",
            r"\A\s*+-----BEGIN [A-Z ]{0,30}PRIVATE KEY",
            "It is a private key: anyone who has it can act in its owner's name.",
        ),
        # A cell that a spreadsheet takes for a formula; "\x7c" is a bar, as in cmd|' /C calc'!A0.
        (
            "csv",
            "notice",
            r'(?<![^\r\n,;\t])"?+[=@][^\s,;"]',
            "Some cells start like formulas, which a spreadsheet runs when it opens the file.",
        ),
        (
            "csv",
            "notice",
            r'(?<![^\r\n,;\t])"?+[+-][A-Za-z(=@]',
            "Some cells start like formulas, which a spreadsheet runs when it opens the file.",
        ),
        (
            "csv",
            "notice",
            r'(?<![^\r\n,;\t])"?+[+-][^\r\n,;\t\x7c]{0,99}+\x7c',
            "Some cells start like formulas, which a spreadsheet runs when it opens the file.",
        ),
    )
    for level, _, means in [words.partition(" ")]
]
_ENCRYPTED = Flag(
    "high", "It is encrypted with a password, so no scanner can check it.", "hides"
)
_BOMB = Flag(
    "high",
    "It would unpack to far more than any message needs, so it was not opened.",
    "hides",
)
_UNREADABLE = Flag(
    "high", "Its list of files is broken, so its content is not known.", "hides"
)
_UNCERTAIN = Flag(
    "high", "Programs may find files in it that are not listed here.", "hides"
)
_NESTED = Flag(
    "notice", "The content of an archive or message in it cannot be listed.", "hides"
)
_UNREAD = Flag(
    "notice",
    "A file in it is packed in a way that is not read here, so it may be anything.",
    "hides",
)
_HOLDS = Flag("notice", "It can contain other files.", "hides")
# Where a line of a calendar goes on.
_FOLD = re.compile(r"\r?\n[ \t]")
# More bytes of a calendar are not read.
MAX_CALENDAR = 256 * 1024
_NOT_ALL_EVENTS = Flag(
    "notice", "Not all of it can be shown as an event here. Open its preview."
)
_CUT = Flag("notice", "It is too long to be read to its end.", "hides")
# A PDF may write a letter of a name by its code, such as #4A.
_NAME_CODE = re.compile(rb"#([0-9A-Fa-f]{2})")


def detect_file(content: bytes, *, name: str, content_type: str) -> Detection:
    """Return of what kind a file is by its bytes, with flags: what contradicts its name
    or its declared type, and what is risky about it.
    """
    kind, encoding = kind_of(content, name=name)
    members: list[Member] = []
    others: list[tuple[Member, Kind | None]] = []
    flags: list[Flag] = []
    events: list[Event] = []
    words: list[str] = []
    if kind == "calendar":
        more = 0
        text = content[:MAX_CALENDAR].decode(encoding, "replace")
        words = _FOLD.sub("", text).replace("\\n", "\n").splitlines()
        try:
            events, more = read_events(text)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 -- over a broken file the library fails with errors of any kind
            events = []
        is_cut = len(content) > MAX_CALENDAR
        if more or not events or is_cut:
            flags.append(_NOT_ALL_EVENTS)
        if is_cut:
            flags.append(_CUT)
    is_zip = kind == "zip"
    if is_zip:
        try:
            members = zip_members(content)
            flags += _about_members(members, len(content))
            if _BOMB not in flags:
                others = list(_kinds_by_bytes(content, members))
                flags += _about_kinds(others)
            if not is_certain(content, members):
                flags.append(_UNCERTAIN)
        except UnreadableDirectory:
            flags.append(_UNREADABLE)
        kind = _zip_kind({one.name.lower() for one in members})
        if kind in _OFFICE.values():
            flags += _about_parts(content, members)
    elif end_of_directory(content) >= 0 or (
        kind != "archive" and any(one in content for one in _BEGINNINGS)
    ):
        flags.append(_UNCERTAIN)
    if kind == "ole" and _LOCKED in content:
        kind = "locked"
        flags.append(_ENCRYPTED)
    by_name = claimed_by_ending(ending_of(name))
    for claim in (by_name, claimed_by_type(content_type)):
        is_confirmed = claim is KINDS["zip" if is_zip else kind]
        if claim and claim.name in _HOLDERS and not is_confirmed:
            flags.append(_HOLDS)
    flags = [
        *_disagreements(KINDS[kind], name, content_type),
        *flags,
        *_inside(content, kind, encoding),
    ]
    kinds = set()
    for ending in {ending_of(one.name) for one in members if one.name[-1:] != "/"}:
        kinds |= claimed_kinds(f".{ending}")
    for _, other in others:
        kinds |= {other.name, other.family} if other else set()
    if kinds & _HOLDERS:
        flags.append(_NESTED)
    if kind not in ("zip", "jar", "apk") and by_name is not KINDS["zip"]:
        # The files in an Office file are its parts.
        members = []
        kinds = set()
    kinds |= {KINDS[kind].family, kind}
    if any(flag.means == "runs" for flag in flags):
        kinds.add("program")
    width, height = size_of(kind, content)
    return Detection(
        kind=kind,
        kinds=sorted(kinds),
        flags=list(dict.fromkeys(sorted(flags, key=lambda flag: flag.level))),
        members=[one.name[:300] for one in members[:MAX_LISTED]],
        more=max(0, len(members) - MAX_LISTED),
        width=width,
        height=height,
        encoding=encoding,
        events=events,
        sums=asdict(read_sums([*words, *(one.name for one in members)])),
        hosts=sorted(hosts_in("\n".join(words))),
    )


def kind_of(content: bytes, *, name: str) -> tuple[str, str]:
    """Return the kind of a file by its bytes, and the encoding if it is text."""
    if not content:
        return "empty", ""
    if kind := by_magic(content):
        return kind, ""
    if b"%PDF-" in content[:1024]:
        return "pdf", ""
    encoding = encoding_of(content)
    if not encoding:
        return "unknown", ""
    return _text_kind(content.decode(encoding, "replace"), name), encoding


def encoding_of(content: bytes) -> str:
    """Return the encoding of a text; empty if the bytes are no text."""
    encoding = "utf-8"
    for mark, marked in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if content.startswith(mark):
            encoding = marked
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"
        text = content.decode("latin-1")
    # DOS ends a text with the character 1A.
    if re.search(r"[\x00-\x08\x0e-\x19\x1c-\x1f]|\x1a(?!\Z)", text):
        return ""
    return encoding


def _text_kind(text: str, name: str) -> str:
    # The kind of a text, by its beginning, else by the extension of its name.
    head = text[:_HEAD].lstrip("\ufeff \t\r\n")
    # An HTML application of Windows runs as a program, whatever else is in it.
    if head.startswith("#!") or "<hta:application" in text.lower():
        return "script"
    if head.startswith(("-----BEGIN PGP MESSAGE", "-----BEGIN PGP SIG")):
        return "pgp"
    if head.startswith("-----BEGIN "):
        return "key"
    if head[:15].upper() == "BEGIN:VCALENDAR":
        return "calendar"
    if first_element := _MARKUP.match(head):
        tag = first_element[2].lower()
        if tag in _PAGES:
            return "html"
        if tag.endswith("svg"):
            return "svg"
        if head.startswith("<?xml"):
            return "xml"
    claimed = claimed_by_ending(ending_of(name))
    return claimed.name if claimed and claimed.name in ("csv", "mail") else "text"


def _disagreements(kind: Kind, name: str, content_type: str) -> Iterator[Flag]:
    # Flags for a name or a declared type that contradicts the bytes.
    yield from flags_of_name(name, content_type)
    ending = ending_of(name)
    by_name = claimed_by_ending(ending)
    by_type = claimed_by_type(content_type)
    means = "runs" if kind.family == "program" else ""
    if by_name and not _agrees(by_name, kind):
        sentence = (
            f"Its name says .{one_word(ending)}, its content is {_content(kind)}."
        )
        yield Flag("high", sentence, means)
    if by_type and by_type is not by_name and not _agrees(by_type, kind):
        declared = one_word(named(content_type)[:80])
        sentence = f"Its type says {declared}, its content is {_content(kind)}."
        yield Flag("high", sentence, means)
    if means and not by_name:
        yield Flag("high", f"Its content is {_content(kind)}.", means)


def _agrees(claimed: Kind, kind: Kind) -> bool:
    # Whether a file that claims one kind may be of the other.
    if claimed is kind:
        return True
    if claimed.family == "text":
        # Any text may be declared as plain text.
        return kind.family == "text" or kind.name in ("empty", "xml", "script")
    if kind.name == "text":
        # Scripts have no magic bytes, but machine code is never text.
        return claimed.name == "script"
    return (claimed.name, kind.name) in _SAME


def _content(kind: Kind) -> str:
    words = {"text": "plain text", "unknown": "of an unknown kind", "empty": "empty"}
    return words.get(kind.name) or with_article(kind.words)


def _about_members(members: list[Member], size: int) -> Iterator[Flag]:
    # Flags for the contents of an archive of `size` bytes.
    unpacked = sum(member.size for member in members)
    is_bomb = unpacked > BOMB_SIZE and unpacked > BOMB_TIMES * size
    if is_bomb or len(members) == MAX_ENTRIES:
        yield _BOMB
    if any(member.is_locked for member in members):
        yield _ENCRYPTED
    flagged = 0
    for member in members:
        name = member.name
        why, level = why_dangerous(name)
        is_dangerous = why and level == "high"
        is_outside = name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name)
        if not (is_dangerous or is_outside):
            continue
        quoted_name = quoted(named(name), 120)
        if is_dangerous:
            yield Flag("high", f"It contains {quoted_name}: {why}.", "runs")
        if is_outside:
            yield Flag("high", f"It would write outside its folder: {quoted_name}.")
        flagged += 1
        if flagged == MAX_LISTED:
            break


def _kinds_by_bytes(
    content: bytes, members: list[Member]
) -> Iterator[tuple[Member, Kind | None]]:
    """Yield the files in an archive whose bytes tell another kind than their names, with
    that kind; None if they cannot be read.
    """
    for member in members:
        if not member.size or member.is_locked:
            continue
        begins = beginning(content, member)
        if begins is None:
            yield member, None
            continue
        is_script = begins.startswith(b"#!")
        kind = KINDS["script" if is_script else by_magic(begins) or "text"]
        claimed = claimed_by_ending(ending_of(member.name))
        # An Office file is a zip archive, too.
        allowed = {kind.family, "document" if kind.name == "zip" else kind.family}
        if kind.name != "text" and not (claimed and claimed.family in allowed):
            yield member, kind


def _about_kinds(others: Iterable[tuple[Member, Kind | None]]) -> Iterator[Flag]:
    # Flags for files in an archive that are not what their names say.
    for member, kind in islice(others, MAX_LISTED):
        if not kind:
            yield _UNREAD
        elif kind.family == "program":
            quoted_name = quoted(named(member.name), 120)
            sentence = f"It contains {quoted_name}, which is {_content(kind)}."
            yield Flag("high", sentence, "runs")


def _about_parts(content: bytes, members: list[Member]) -> Iterator[Flag]:
    """Yield flags for the parts of an Office file, by the types that it declares: their
    names can be any.
    """
    declared = [one for one in members if one.name.lower() == _PART_TYPES]
    types = [unpacked(content, one, most=MAX_PART_TYPES) for one in declared]
    if None in types:
        yield _UNREADABLE
    # Without the zeros of UTF-16, and with characters that were written as numbers.
    texts = [
        unescape((one or b"").replace(b"\0", b"").decode("latin-1")) for one in types
    ]
    if any(_MACROS.search(one) for one in texts):
        yield Flag("high", "It contains macros, which run when it is opened.", "runs")


def _zip_kind(names: set[str]) -> str:
    # Which kind of zip archive it is, by the names of its files in lower case.
    if _PART_TYPES in names:
        for folder, kind in _OFFICE.items():
            if any(name.startswith(folder) for name in names):
                return kind
        return "zip"
    if "androidmanifest.xml" in names:
        return "apk"
    if "meta-inf/manifest.mf" in names:
        return "jar"
    return "odf" if {"meta-inf/manifest.xml", "content.xml"} <= names else "zip"


def _inside(content: bytes, kind: str, encoding: str) -> Iterator[Flag]:
    """Yield flags for active content in a document, of which only a PDF is opened."""
    if kind == "pdf":
        content += all_objects(content)
        content = _NAME_CODE.sub(lambda code: bytes([int(code[1], 16)]), content)
    elif encoding:
        content = content[:1_000_000].decode(encoding, "replace").encode()
    for kinds, pattern, flag in _CONTENTS:
        if kind in kinds and pattern.search(content):
            yield flag

"""The kinds of files that the desk can tell apart, by their first bytes, their
extension or their declared type; what was detected about a file; and the reasons why a
file is not shown.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.ascii import lowered, trimmed
from common.tables import table_rows
from common.unique_keys import Json
from rendering import found_in
from risk.check_files import last_part, why_dangerous


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str
    # Image, text, document, archive, program, media or other.
    family: str
    words: str
    # Extensions and media types that claim this kind, separated by blanks.
    endings: str
    types: str


# The kinds: name, family, words, and the extensions and media types that claim it.
_TABLE = """
png        | image    | PNG picture | png apng | image/png image/apng
jpeg       | image    | JPEG picture | jpg jpeg jpe jfif | image/jpeg image/jpg image/pjpeg
gif        | image    | GIF picture | gif | image/gif
webp       | image    | WebP picture | webp | image/webp
picture    | other    | picture of another format | bmp dib tif tiff ico cur heic heif heics avif |
    image/bmp image/x-ms-bmp image/tiff image/x-icon image/vnd.microsoft.icon image/heic image/heif image/avif
svg        | document | SVG drawing, which can hold scripts | svg svgz | image/svg+xml
pdf        | document | PDF | pdf | application/pdf application/x-pdf
postscript | document | PostScript | ps eps ai | application/postscript
rtf        | document | rich text | rtf | application/rtf text/rtf
html       | document | web page | html htm xhtml shtml | text/html application/xhtml+xml
xml        | document | XML file | xml xsl rss plist | text/xml application/xml
docx       | document | Word document | docx docm dotx dotm |
    application/vnd.openxmlformats-officedocument.wordprocessingml.document
xlsx       | document | Excel workbook | xlsx xlsm xltx xltm xlsb xlam |
    application/vnd.openxmlformats-officedocument.spreadsheetml.sheet
pptx       | document | PowerPoint slides | pptx pptm potx potm ppsx ppsm |
    application/vnd.openxmlformats-officedocument.presentationml.presentation
odf        | document | OpenDocument file | odt ods odp odg ott ots |
    application/vnd.oasis.opendocument.text application/vnd.oasis.opendocument.spreadsheet
    application/vnd.oasis.opendocument.presentation
ole        | document | old Office file | doc xls ppt dot xlt pps msi mpp vsd pub |
    application/msword application/vnd.ms-excel application/vnd.ms-powerpoint
msg        | document | message of Outlook with its files | msg oft | application/vnd.ms-outlook
locked     | document | encrypted Office file |  |
onenote    | document | OneNote notebook, which can hold programs | one | application/onenote
zip        | archive  | zip archive | zip epub | application/zip application/x-zip-compressed application/epub+zip
archive    | archive  | archive other than zip | gz tgz gzip taz bz2 tbz2 bz tbz tb2 bzip2 xz txz lzma tlz lz lz4 lzo
    zst tzst z zipx 7z 001 rar r00 tar cpio ar a cab wim swm esd xar lha lzh arj arc ace zoo sit sitx sea alz egg
    squashfs hqx uu uue xxe b64 pst ost |
    application/gzip application/x-gzip application/x-bzip application/x-bzip2 application/x-xz application/x-lzma
    application/x-lzip application/x-lz4 application/zstd application/x-compress application/x-7z-compressed
    application/vnd.rar application/x-rar-compressed application/x-rar application/x-tar application/x-gtar
    application/x-compressed-tar application/x-cpio application/x-archive application/vnd.ms-cab-compressed
    application/x-lzh-compressed application/x-arj application/x-stuffit application/mac-binhex40 text/x-uuencode
tnef       | archive  | message of Outlook with its files (winmail.dat) |  |
    application/ms-tnef application/vnd.ms-tnef
smime      | other    | signed or encrypted message (S/MIME) | p7m p7s p7c |
    application/pkcs7-mime application/pkcs7-signature application/x-pkcs7-mime application/x-pkcs7-signature
iso        | program  | disk image | iso img udf | application/x-iso9660-image
jar        | program  | Java program | jar war | application/java-archive
apk        | program  | Android program | apk | application/vnd.android.package-archive
exe        | program  | Windows program | exe dll scr com sys cpl ocx |
    application/x-msdownload application/x-dosexec application/vnd.microsoft.portable-executable
binary     | program  | program | elf so bin run dylib class wasm |
    application/x-elf application/x-sharedlib application/x-mach-binary application/java-vm application/wasm
lnk        | program  | Windows shortcut, which starts a program | lnk | application/x-ms-shortcut
chm        | program  | Windows help file, which can hold scripts | chm | application/vnd.ms-htmlhelp
script     | program  | script | sh bash py pl rb | text/x-sh text/x-shellscript text/x-python
media      | media    | sound or film | mp3 mp4 m4a m4v mov ogg oga ogv wav flac webm mkv avi 3gp |
    audio/mpeg audio/mp4 audio/ogg audio/wav audio/flac video/mp4 video/webm video/quicktime
csv        | text     | table as text | csv tsv | text/csv text/tab-separated-values
key        | text     | text with a key or certificate | pem crt cer key asc | application/x-pem-file
pgp        | text     | encrypted text or signature (PGP) | pgp gpg sig |
    application/pgp-encrypted application/pgp-signature
mail       | text     | email as a file | eml emlx mbox mbx mht mhtml | message/rfc822 application/mbox
calendar   | text     | calendar | ics ifb | text/calendar application/ics
text       | text     | plain text |
    txt text log md markdown rst ini cfg conf yaml yml toml sql diff patch json vcf |
    text/plain text/markdown text/x-log application/yaml text/yaml application/toml application/json text/vcard
empty      | other    | empty file |  |
unknown    | other    | unknown kind |  |
"""
KINDS = {row[0]: Kind(*row) for row in table_rows(_TABLE)}

_BY_ENDING = {
    ending: kind for kind in KINDS.values() for ending in kind.endings.split()
}
_BY_TYPE = {name: kind for kind in KINDS.values() for name in kind.types.split()}

# Magic bytes: a kind, an offset, and the bytes that a file of the kind has there, each
# start with its escapes as in Python. The first match counts.
MAGIC = [
    (
        kind,
        int(offset),
        tuple(
            codecs.decode(start, "unicode_escape").encode("latin-1")
            for start in starts.split()
        ),
    )
    for kind, offset, starts in table_rows(r"""
png        | 0     | \x89PNG\r\n\x1a\n
jpeg       | 0     | \xff\xd8\xff
gif        | 0     | GIF87a GIF89a
webp       | 8     | WEBP
picture    | 0     | II*\x00 MM\x00* II+\x00 MM\x00+ \x00\x00\x01\x00
picture    | 4     | ftypavi ftypheic ftypheim ftypheis ftypheix ftyphev ftypmif1 ftypmsf1
pdf        | 0     | %PDF-
postscript | 0     | %!PS
rtf        | 0     | {\\rt
ole        | 0     | \xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1
tnef       | 0     | \x78\x9f\x3e\x22
# What a signed or encrypted message is, after the length of it.
smime      | 2     | \x06\x09*\x86H\x86\xf7\x0d\x01\x07
smime      | 4     | \x06\x09*\x86H\x86\xf7\x0d\x01\x07
onenote    | 0     | \xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3
zip        | 0     | PK\x03\x04 PK\x05\x06 PK\x07\x08
archive    | 0     | \x1f\x8b BZh \xfd7zXZ\x00 \x28\xb5\x2f\xfd 7z\xbc\xaf\x27\x1c Rar!\x1a\x07 MSCF !<arch>\n
archive    | 257   | ustar
iso        | 32769 | CD001
exe        | 0     | MZ
# Programs for Linux, macOS and Java, and WebAssembly.
binary     | 0     | \x7fELF \xcf\xfa\xed\xfe \xce\xfa\xed\xfe \xfe\xed\xfa\xce \xfe\xed\xfa\xcf
    \xca\xfe\xba\xbe \x00asm
lnk        | 0     | L\x00\x00\x00\x01\x14\x02\x00
chm        | 0     | ITSF
media      | 4     | ftyp
media      | 0     | ID3 \xff\xfb \xff\xf3 OggS fLaC \x1aE\xdf\xa3
media      | 8     | WAVE AVI\x20
# A bitmap has the size of its header here.
picture    | 14    | (\x00\x00\x00
""")
]


def by_magic(content: bytes) -> str:
    """Return the kind of a file by its magic bytes; empty if it has none of them."""
    kinds = (
        kind for kind, offset, starts in MAGIC if content.startswith(starts, offset)
    )
    return next(kinds, "")


def claimed_by_ending(ending: str) -> Kind | None:
    """Return the kind that a file name with this extension (`ending_of`) claims; None
    if none.
    """
    return _BY_ENDING.get(ending)


def claimed_by_type(content_type: str) -> Kind | None:
    """Return the kind that a declared media type claims; None for a type that says
    nothing, such as application/octet-stream.
    """
    return _BY_TYPE.get(lowered(trimmed(content_type.partition(";")[0])))


# --- What is known of a file ----------------------------------------------------------


@dataclass(frozen=True)
class Flag:
    """One thing that a reviewer must know about a file; `level` is high or notice.
    `means` is "named" if its name or declared type tells so, "runs" if the file can run
    code, "hides" if it may hold files of kinds that are not known, else empty.
    """

    level: str
    sentence: str
    means: str = ""


@dataclass(frozen=True)
class Event:
    """One event of a calendar file. Its times are as in ISO 8601: a date for whole
    days, in UTC, or without an offset if `zone` is not known.
    """

    # What the file asks for, such as REQUEST or CANCEL.
    method: str
    summary: str
    starts: str
    # For whole days the last one.
    ends: str
    # The name of its zone in the file.
    zone: str
    # Its rule, as in the file.
    repeats: str
    location: str
    organizer: str
    attendees: tuple[str, ...]
    # How many attendees are not listed.
    more: int


@dataclass(frozen=True)
class Detection:
    """What was detected about a file by its bytes."""

    kind: str
    flags: Sequence[Flag] = ()
    # Everything that it may be: families and kinds, also those of the files in it.
    kinds: Sequence[str] = ()
    # The names of the files in an archive, and how many more it has.
    members: Sequence[str] = ()
    more: int = 0
    # Of a picture, in pixels; 0 if not known.
    width: int = 0
    height: int = 0
    # Of a text.
    encoding: str = ""
    # Of a calendar.
    events: Sequence[Event] = ()
    # The `Sums` in the lines of a calendar and in the names of the files in an archive.
    sums: Json = field(default_factory=dict)
    # The hosts that a calendar names.
    hosts: Sequence[str] = ()
    # Whether the parser had to be killed twice while it read the file.
    is_unsafe: bool = False


def flags_of_name(name: str, content_type: str) -> tuple[Flag, ...]:
    """Return the flags that follow from the name and the declared type, before any byte
    was fetched.
    """
    why, level = why_dangerous(name, content_type)
    flags = [Flag(level, f"Be careful: {why}.", "named")] if why else []
    if invisible := found_in(name):
        flags.append(
            Flag(
                "high",
                f"Its name contains invisible characters: {', '.join(invisible).lower()}.",
                "named",
            )
        )
    return tuple(flags)


def claimed_kinds(name: str, content_type: str = "") -> set[str]:
    """Return the families and kinds that a file claims to be of by its name and its
    declared type. What these say that it runs is a program.
    """
    claims = (claimed_by_ending(ending_of(name)), claimed_by_type(content_type))
    kinds = {word for one in claims if one for word in (one.family, one.name)}
    if why_dangerous(name, content_type)[1] == "high":
        kinds.add("program")
    return kinds or {"other", "unknown"}


def ending_of(name: str) -> str:
    """Return the extension of a file name, in lower case and without the dot."""
    last = last_part(name).strip().rstrip(". ")
    return lowered(last.rpartition(".")[2].strip()) if "." in last else ""


def with_article(words: str) -> str:
    """Return the words of a kind with an article: "a PDF", "an SVG drawing"."""
    return f"{'an' if words[0].lower() in 'aeio' or words.startswith(('SVG', 'XML')) else 'a'} {words}"


# --- Why a file is not shown ----------------------------------------------------------


SENTENCES = {
    "broken": "It is damaged, or in a form that cannot be read here.",
    "busy": "Other files are being prepared. Open it again in a moment.",
    "entities": "Its XML declares entities of its own, which can fill the memory or fetch files. It was not read.",
    "form": "It is in a form that cannot be shown here.",
    "locked": "It is encrypted with a password, so its content cannot be shown.",
    "no_page": "It has no such page, or the page is beyond those shown here.",
    "no_room": "The desk's disk is full, so it cannot be prepared.",
    "pixels": "It claims more pixels than fit in the memory.",
    "too_large": "It unpacks to far more than any message needs, so it was not read.",
    "too_much": "Showing it takes too much memory or time, or crashes the renderer.",
}


class Refused(Exception):
    """The file is not rendered; `reason` is a key of SENTENCES, `broken` for any other."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason if reason in SENTENCES else "broken"

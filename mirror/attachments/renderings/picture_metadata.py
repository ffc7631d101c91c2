"""Reads what a picture carries besides its pixels: camera, place, dates and software of
EXIF, and written text.
"""

import io
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import ExifTags, Image

from mirror.attachments.renderings.picture_drawn import FORMATS, check_size
from mirror.attachments.renderings.refusals import Refused

MAX_FACTS = 60
MAX_VALUE = 500
Fact = tuple[str, str]
_FIELDS = {
    ExifTags.Base.ImageDescription: "Description",
    ExifTags.Base.Make: "Camera make",
    ExifTags.Base.Model: "Camera model",
    ExifTags.Base.Software: "Software",
    ExifTags.Base.DateTime: "Changed",
    ExifTags.Base.Artist: "Artist",
    ExifTags.Base.Copyright: "Copyright",
    ExifTags.Base.XPTitle: "Title",
    ExifTags.Base.XPComment: "Comment",
    ExifTags.Base.XPAuthor: "Author",
    ExifTags.Base.XPKeywords: "Keywords",
    ExifTags.Base.DateTimeOriginal: "Taken",
    ExifTags.Base.UserComment: "Comment",
    ExifTags.Base.CameraOwnerName: "Owner of the camera",
    ExifTags.Base.BodySerialNumber: "Serial number of the camera",
    ExifTags.Base.LensModel: "Lens",
}
# Windows writes these in UTF-16.
_WIDE = range(ExifTags.Base.XPTitle, ExifTags.Base.XPSubject + 1)
_XMP = re.compile(
    rb"<(?:xmp|photoshop|dc|Iptc4xmpCore):(\w++)[^<>]*+>([^<]{1,500}+)<|xmp:(CreatorTool|\w+Date)=\"([^\"]{1,500})\""
)


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return the facts as pairs of a name and a value. Raises Refused."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            check_size(*picture.size)
            if kind == "png":
                # Text may stand behind the pixels.
                picture.load()
            facts = [*_texts(picture.info), *_exif(picture.getexif())]
    except (
        OSError,
        SyntaxError,
        ValueError,
        ArithmeticError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise Refused("broken") from error
    # Of a GIF one would have to read it whole to know where it ends.
    ends = {
        "png": content.find(b"IEND\xaeB`\x82") + 8,
        "jpeg": content.rfind(b"\xff\xd9") + 2,
        "webp": int.from_bytes(content[4:8], "little") + 8,
    }
    behind = len(content) - ends.get(kind, len(content))
    if 0 < behind < len(content) - 8:
        words = f"{behind:,} bytes that are not part of the picture"
        facts.append(("After the picture", words))
    return {
        "facts": [
            (name, value.replace("\0", " ").strip()[:MAX_VALUE])
            for name, value in facts[:MAX_FACTS]
        ]
    }


def _texts(info: Mapping[Any, Any]) -> Iterator[Fact]:
    for name, value in info.items():
        if name == "comment":
            yield "Comment", _text(value)
        elif isinstance(value, str) and name != "XML:com.adobe.xmp":
            yield f"Text “{name[:79]}”", value
    for found in _XMP.finditer(info.get("xmp", b"")):
        name = found[1] or found[3]
        value = found[2] or found[4]
        if value.strip():
            yield f"XMP {_text(name)}", _text(value)


def _exif(exif: Image.Exif) -> Iterator[Fact]:
    fields = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    for tag, name in _FIELDS.items():
        value = fields.get(tag)
        if isinstance(value, bytes):
            encoding = "utf-16-le" if tag in _WIDE else "utf-8"
            if tag == ExifTags.Base.UserComment:
                encoding = "utf-16" if value.startswith(b"UNICODE") else "utf-8"
                value = value[8:]
            value = value.decode(encoding, "replace")
        if isinstance(value, str) and value.strip("\0 "):
            yield name, value
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    degrees = []
    for letter in (1, 3):
        parts = place.get(letter + 1)
        if isinstance(parts, tuple) and len(parts) == 3:
            degrees.append(
                f"{float(parts[0] + parts[1] / 60 + parts[2] / 3600):.5f}° {place.get(letter)}"
            )
    if len(degrees) == 2:
        yield "Place (GPS)", ", ".join(degrees)
    if exif.get_ifd(ExifTags.IFD.IFD1):
        yield (
            "Embedded preview",
            "It contains a preview, which may show parts that were cut away.",
        )


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")

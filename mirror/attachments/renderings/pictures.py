"""Reads the metadata of a picture: camera, place, dates and software from EXIF, and
texts that the file contains.

If the file is damaged, this may raise an error of any kind; the caller
(`attachments.jobs`) then answers that the file is broken.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import ExifTags, Image

from common.unique_keys import Json
from mirror.attachments.file_types import Refused

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
# How many pixels a picture may have, and each of its sides.
MAX_PIXELS = 25_000_000
MAX_SIDE = 16_000


# How many facts are returned, and how many characters of each.
MAX_FACTS = 60
MAX_VALUE = 500
# A name and a value.
Fact = tuple[str, str]


def read(content: bytes, kind: str) -> Json:
    """Return a dict with the key `facts`: pairs of a name and a value. Raises Refused."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            raise Refused("pixels")
        if kind == "png":
            # Reads the whole file, because a PNG may have text after its pixels.
            picture.load()
        facts = [*_shown(picture), *_texts(picture.info), *_exif(picture.getexif())]
    return {
        "facts": [
            (name, value.replace("\0", " ").strip()[:MAX_VALUE])
            for name, value in facts[:MAX_FACTS]
        ]
    }


def _shown(picture: Image.Image) -> Iterator[Fact]:
    # What programs may show in another way than the browser does here.
    if picture.format == "MPO":
        yield "More pictures", "It contains more of them, which few programs show."
    elif getattr(picture, "is_animated", False):
        yield "Animated", "It changes. Some mail programs show only how it begins."
    if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        yield "Turned", "It is turned to be shown. Some programs show it as stored."


def _texts(info: Mapping[Any, Any]) -> Iterator[Fact]:
    # The texts that the file contains, as comments or by name.
    for name, value in info.items():
        is_comment = name == "comment"
        if is_comment and isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if name in ("xmp", "XML:com.adobe.xmp"):
            yield "XMP", "present; it may have names, places and dates"
        elif isinstance(value, dict) and 0x0404 in value:
            yield "IPTC", "present; it may have names, places, dates and text"
        elif isinstance(value, str):
            yield "Comment" if is_comment else f"Text “{name[:79]}”", value


def _exif(exif: Image.Exif) -> Iterator[Fact]:
    # Texts, place and preview from the EXIF data.
    for tag, value in {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}.items():
        name = ExifTags.TAGS.get(tag, "")
        if isinstance(value, bytes) and name.startswith("XP"):
            # Windows writes these texts.
            value = value.decode("utf-16-le", "replace")
        elif isinstance(value, bytes) and name == "UserComment":
            value = value[8:].decode("utf-8", "replace")
        if isinstance(value, str) and value.strip("\0 "):
            yield name, value
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    degrees = []
    for letter in (1, 3):
        parts = gps.get(letter + 1)
        if isinstance(parts, tuple) and len(parts) == 3:
            degrees.append(
                f"{float(parts[0] + parts[1] / 60 + parts[2] / 3600):.5f}° {gps.get(letter)}"
            )
    if len(degrees) == 2:
        yield "Place (GPS)", ", ".join(degrees)
    if exif.get_ifd(ExifTags.IFD.IFD1):
        yield (
            "Embedded preview",
            "It contains a preview, which may show parts that were cut away.",
        )

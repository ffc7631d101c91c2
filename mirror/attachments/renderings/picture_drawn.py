"""Draws a picture of a stranger again, as a PNG of our own making, so that none of its
own bytes reaches a browser.

Of one that moves, the first picture is drawn.
"""

import io

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mirror.attachments.detection import kind_of
from mirror.attachments.file_types import KINDS
from mirror.attachments.flags import with_article
from mirror.attachments.renderings.refusals import Refused
from rendering.pictures import size_of
from rendering.tracking import MAX_PIXEL

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
# Pixels that a picture may have, and each of its sides.
MAX_PIXELS = 25_000_000
MAX_SIDE = 16_000
# A picture is drawn no larger than a message is wide: as PNG a photograph takes four
# times the bytes.
MAX_DRAWN = 800


def draw(content: bytes) -> bytes:
    """Return the picture. Raises Refused for one that is damaged, too large, tiny, or
    of another kind.
    """
    kind, _ = kind_of(content)
    if kind == "unknown":
        raise Refused("kind", "of an unknown kind")
    if kind.upper() not in FORMATS:
        raise Refused("kind", with_article(KINDS[kind].words))
    width, height = size_of(kind, content)
    if not width or not height:
        raise Refused("broken")
    check_size(width, height)
    if max(width, height) <= MAX_PIXEL:
        raise Refused("tiny", f"{width:,} × {height:,}")
    return _redrawn(content)


def _redrawn(content: bytes) -> bytes:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            check_size(*picture.size)
            # Its pixels alone, the right way up; colour profile, comments and what else
            # it holds are left behind.
            picture.draft("RGB", (MAX_DRAWN, MAX_DRAWN))
            picture.load()
            is_clear = picture.has_transparency_data
            turned = ImageOps.exif_transpose(picture)
            drawn = turned.convert("RGBA" if is_clear else "RGB")
    except UnidentifiedImageError as error:
        raise Refused("form") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Refused("broken") from error
    except Image.DecompressionBombError as error:
        raise Refused("too_large") from error
    drawn.thumbnail((MAX_DRAWN, MAX_SIDE))
    drawn.info.clear()
    output = io.BytesIO()
    drawn.save(output, "PNG")
    return output.getvalue()


def check_size(width: int, height: int) -> None:
    """Raise Refused for a picture that would take too much memory."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise Refused("pixels", f"{width:,} × {height:,}")


def _draw_samples() -> None:
    """Draw a picture of each format: Pillow imports some modules when it first needs
    them, which a confined process cannot."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for name in FORMATS:
        sample = io.BytesIO()
        Image.new("RGB" if name == "JPEG" else "RGBA", (2, 2)).save(
            sample, name, exif=turned
        )
        _redrawn(sample.getvalue())


_draw_samples()

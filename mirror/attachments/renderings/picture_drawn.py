"""Draws a picture of a stranger again, as a PNG of our own making, so that none of its own bytes reaches a browser.

Of one that moves, the first picture is drawn.
"""

import io
from collections.abc import Iterator

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mirror.attachments.renderings.refusals import Refused

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
# Pixels that a picture may have, and each of its sides.
MAX_PIXELS, MAX_SIDE = 25_000_000, 16_000
# A picture is drawn no larger than a message is wide: as PNG a photograph takes four times the bytes.
MAX_DRAWN = 800


def draw(content: bytes, page: int) -> Iterator[bytes]:
    """Yield the picture. Raises Refused for one that is damaged, too large, or of another kind."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check_size(*picture.size)
            yield _drawn(picture)
    except UnidentifiedImageError as error:
        raise Refused("form") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Refused("broken") from error
    except Image.DecompressionBombError as error:
        raise Refused("too_large") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise Refused("too_large")


def _drawn(picture: Image.Image) -> bytes:
    """Return its pixels alone, the right way up; colour profile, comments and what else it holds are left behind."""
    picture.draft("RGB", (MAX_DRAWN, MAX_DRAWN))
    picture.load()
    is_clear = picture.has_transparency_data
    drawn = ImageOps.exif_transpose(picture).convert("RGBA" if is_clear else "RGB")
    drawn.thumbnail((MAX_DRAWN, MAX_SIDE))
    drawn.info.clear()
    output = io.BytesIO()
    drawn.save(output, "PNG")
    return output.getvalue()


def _draw_samples() -> None:
    """Draw a picture of each format: Pillow imports some modules when it first needs them, which a confined process
    cannot."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for name in FORMATS:
        sample = io.BytesIO()
        Image.new("RGB" if name == "JPEG" else "RGBA", (2, 2)).save(sample, name, exif=turned)
        next(draw(sample.getvalue(), 1))


_draw_samples()

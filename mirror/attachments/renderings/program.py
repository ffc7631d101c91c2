"""The process that reads one attached file: `python -I program.py KIND [PAGE]`, the file on its standard input.

The kind "remote" is a picture that a message would load from elsewhere, to be drawn again.

Writes one line of JSON; for pages their pictures follow, each after its length in four bytes. Knows neither Django nor
the desk's settings.
"""

import importlib
import json
import struct
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

# In isolated mode Python looks for modules among the installed ones only.
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from mirror.attachments.renderings.confinement import confine
from mirror.attachments.renderings.refusals import Refused

_READERS = {
    "pdf": "pdf_pages",
    "docx": "word",
    "xlsx": "workbook",
    "pptx": "slides",
    "odf": "opendocument",
    **dict.fromkeys(("png", "jpeg", "gif", "webp"), "picture_metadata"),
    "remote": "picture_drawn",
}

# Made before: where memory is used up there is none left for it.
_TOO_MUCH = {"error": "too_much"}


def main(kind: str, page: int) -> None:
    """Read the file and write what is in it, or `{"error": …}` with a key of `refusals.SENTENCES`."""
    reader = importlib.import_module(f"mirror.attachments.renderings.{_READERS[kind]}")
    confine()
    pictures: Iterator[bytes] = iter(())
    try:
        content = sys.stdin.buffer.read()
        found: dict[str, Any] = {}
        if page:
            pictures = reader.draw(content, page)
            # Whether there is a picture at all.
            pictures = chain([next(pictures)], pictures)
        else:
            found = reader.read(content, kind)
    except Refused as refused:
        found = {"error": refused.reason}
    except MemoryError:
        found = _TOO_MUCH
    except Exception:  # noqa: BLE001 -- whatever a made-up file breaks, its reviewer gets a sentence
        found = {"error": "broken"}
    output = sys.stdout.buffer
    output.write(json.dumps(found).encode() + b"\n")
    for picture in pictures:
        # One after the other: a page that ends this process does not take those before it along.
        output.write(struct.pack(">I", len(picture)) + picture)
        output.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)

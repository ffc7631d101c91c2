"""Decodes and checks the attachments of an API request: base64 to `File`, within limits
of number, size and name.
"""

import base64
import hashlib
import re
from dataclasses import dataclass

from gateway.errors import Invalid, TooLarge
from gateway.text import check_header_text

MAX_FILES = 25
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_ALL_FILES_BYTES = 20 * 1024 * 1024
# Characters of a content type with its parameters.
MAX_TYPE = 127
_CONTENT_TYPE = re.compile(
    r"([A-Za-z0-9][\w!#$&^.+-]*+/[A-Za-z0-9][\w!#$&^.+-]*+)((?:[ \t]*+;[ \t]*+"
    r"(?:[\w-]++=(?:[\w!#$&^.+-]++|\"[ !#-\[\]-~]*+\"))?+)*+)[ \t]*+",
    re.ASCII,
)


@dataclass(frozen=True)
class File:
    """One attachment of a message, sent or received."""

    name: str
    content_type: str
    content: bytes
    # By which the HTML shows a picture: <img src="cid:...">.
    content_id: str = ""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content in hex, which the fingerprint of a message
        covers.
        """
        return hashlib.sha256(self.content).hexdigest()


def check_number(items: object) -> object:
    """Return `items` unchanged. Raises ValueError if they are more files than a message
    may have; called before any of them is parsed.
    """
    if isinstance(items, list) and len(items) > MAX_FILES:
        raise ValueError(f"at most {MAX_FILES} files, and there are {len(items)}.")
    return items


def read_files(items: list[tuple[str, str, str | None, str]]) -> tuple[File, ...]:
    """Return the files of a request; each item is (name, content type, base64 content
    or None if it is missing, content id). Raises Invalid or TooLarge.
    """
    files = []
    content_ids: set[str] = set()
    for number, (name, content_type, encoded, content_id) in enumerate(items):
        field = f"attachments.{number}"
        if not 1 <= len(name) <= 255:
            raise Invalid(f"{field}.name: must have 1 to 255 characters.")
        try:
            check_header_text(name)
        except ValueError as error:
            raise Invalid(f"{field}.name: {error}") from None
        # A longer one is not matched.
        kind = _CONTENT_TYPE.fullmatch(content_type[: MAX_TYPE + 1])
        if not kind or len(content_type) > MAX_TYPE:
            raise Invalid(
                f"{field}.content_type: must look like application/pdf or "
                f"text/calendar; method=REQUEST, with at most {MAX_TYPE} characters."
            )
        kept = kind[1].lower() + kind[2].rstrip("; \t")
        if content_id and not (
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}", content_id)
            and kept.startswith("image/")
            and content_id not in content_ids
        ):
            raise Invalid(
                f'{field}.content_id: must be an id for a picture, as in <img src="cid:logo">, and for this one alone.'
            )
        content_ids.add(content_id)
        if encoded is None:
            # A misspelled field must not become an empty file in somebody's inbox.
            raise Invalid(f"{field}.content_base64: is missing.")
        try:
            content = base64.b64decode("".join(encoded.split()), validate=True)
        except ValueError:
            raise Invalid(f"{field}.content_base64: is not base64.") from None
        if len(content) > MAX_FILE_BYTES:
            raise TooLarge(
                f"{field}: at most {MAX_FILE_BYTES} bytes, and it has {len(content)}."
            )
        files.append(File(name, kept, content, content_id))
    if len({file.name for file in files}) < len(files):
        raise Invalid("attachments: two files have the same name.")
    if (size := sum(len(file.content) for file in files)) > MAX_ALL_FILES_BYTES:
        raise TooLarge(
            f"attachments: at most {MAX_ALL_FILES_BYTES} bytes in total, and they have {size}."
        )
    return tuple(files)

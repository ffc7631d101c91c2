"""Answers about attached files."""

from gateway.answers.base import Answer


class FileLink(Answer):
    """Where a file can be fetched without a key, for a while."""

    url: str
    filename: str
    size_bytes: int
    content_type: str
    expires_in: int

"""Answers about tags."""

from gateway.answers.base import Answer


class Tags(Answer):
    """All tags of a message."""

    tags: dict[str, str]


class TagWords(Answer):
    """All tags of a message, as words."""

    id: str
    tags: list[str]


class TagDeleted(Answer):
    """Whether there was a tag to take away."""

    deleted: bool

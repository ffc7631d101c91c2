"""The form of a mailbox's usual reasons or saved comments: a fixed number of rows, of which any may be empty."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.datastructures import MultiValueDict

from approvals.usual_texts.texts import MAX_LABEL, MAX_WORDS, MOST, Preset


@dataclass
class TextRow:
    """One row as it was typed, with what is wrong with it."""

    order: str
    label: str
    words: str
    wrong: str = ""


def rows_of(presets: Iterable[Preset]) -> list[TextRow]:
    """Return the rows of stored texts, and empty ones after them."""
    texts = [TextRow(str(number), one.label, one.words) for number, one in enumerate(presets, start=1)]
    return [*texts, *(TextRow(str(number), "", "") for number in range(len(texts) + 1, MOST + 1))]


class TextsForm:
    """The posted rows; `rows` keep what was typed, `texts` are those that are filled, in the order that was asked."""

    def __init__(self, data: MultiValueDict[str, str], *, may_be_empty: bool) -> None:
        self.rows = [
            TextRow(
                data.get(f"order-{number}", "").strip()[:4],
                " ".join(data.get(f"label-{number}", "").split()),
                data.get(f"words-{number}", "").replace("\r\n", "\n").strip(),
            )
            for number in range(1, MOST + 1)
        ]
        self.error = ""
        self._check(may_be_empty=may_be_empty)

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.error

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Label and words of each filled row."""
        ordered = sorted(self._filled(), key=lambda row: int(row.order))
        return [(row.label, row.words) for row in ordered]

    def _filled(self) -> list[TextRow]:
        return [row for row in self.rows if row.label or row.words]

    def _check(self, *, may_be_empty: bool) -> None:
        seen: set[str] = set()
        for row in self._filled():
            row.wrong = _what_is_wrong(row, seen)
            seen.add(row.label.casefold())
        self.error = next((row.wrong for row in self.rows if row.wrong), "")
        if not self._filled() and not may_be_empty:
            self.error = "Write at least one reason, or restore the defaults."


def _what_is_wrong(row: TextRow, seen: set[str]) -> str:
    if not row.label:
        return "Give it a short label: the list shows it."
    if not row.words:
        return f"Write the text of “{row.label[:MAX_LABEL]}”."
    if "\0" in row.label + row.words:
        return "Remove the invisible character."
    if len(row.label) > MAX_LABEL:
        return f"Keep the label under {MAX_LABEL} characters."
    if len(row.words) > MAX_WORDS:
        return f"Keep the text under {MAX_WORDS} characters."
    if row.label.casefold() in seen:
        return f"There are two with the label “{row.label}”."
    if row.order not in {str(number) for number in range(1, MOST + 1)}:
        return f"Give it a position from 1 to {MOST}."
    return ""

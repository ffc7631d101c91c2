"""The result of a benchmark: its figures, the control that they are compared with, and
its goals. `sized` picks full or smoke sizes.
"""

import os
from dataclasses import dataclass
from typing import TypeVar

Size = TypeVar("Size", int, float)


def sized(full: Size, *, smoke: Size) -> Size:
    """Return `full`, or `smoke` under `./run bench --smoke`, which only tries whether a
    benchmark runs.
    """
    return smoke if "BENCH_SMOKE" in os.environ else full


@dataclass(frozen=True)
class Figure:
    """One measured value with its unit."""

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        value = f"{self.value:,.0f}" if self.value >= 100 else f"{self.value:,.4g}"
        return f"{value} {self.unit}".rstrip()


@dataclass(frozen=True)
class Goal:
    """A value and the bound that it must keep to."""

    name: str
    value: float
    bound: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        """Whether the value keeps to the bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    @property
    def words(self) -> str:
        """The bound as it is printed."""
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g}"

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.words}: {'holds' if self.holds else 'missed'})"


@dataclass(frozen=True)
class Result:
    """The result of one benchmark. The first goal is a ratio to the control."""

    question: str
    figures: tuple[Figure, ...]
    control: Figure
    goals: tuple[Goal, ...]

    @property
    def title(self) -> str:
        """The question on one line, however its docstring is wrapped."""
        return " ".join(self.question.split())

    @property
    def missed(self) -> str:
        """The goals that are missed, as they are printed."""
        return ", ".join(goal.name for goal in self.goals if not goal.holds)

    def table(self, name: str) -> str:
        """Return all figures and goals as text, one on a line."""
        values = (*self.figures, self.control, *self.goals)
        lines = (f"  {one.name:<42}{one!s:>32}" for one in values)
        return "\n".join([f"{name}: {self.title}", *lines])

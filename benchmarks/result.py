"""What a benchmark found: figures, the control they are compared with, and whether the goal holds."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value with its unit."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Result:
    """The answer to one question: `ratio` is figure over control, medians of `runs`."""

    question: str
    figures: tuple[Figure, ...]
    control: Figure
    ratio: float
    goal: float
    runs: int

    @property
    def holds(self) -> bool:
        """Whether the goal is met."""
        return self.ratio >= self.goal

    def as_dict(self) -> dict[str, Any]:
        """Return the result as it is kept."""
        return {**asdict(self), "holds": self.holds}

    def table(self, name: str) -> str:
        """Return the result as it is printed."""
        rows = [(figure.name, f"{figure.value:,.0f} {figure.unit}") for figure in (*self.figures, self.control)]
        rows.append(("ratio", f"{self.ratio:.2f} (goal {self.goal:.2f}: {'holds' if self.holds else 'missed'})"))
        return "\n".join([f"{name}: {self.question}", *(f"  {label:<32}{value:>24}" for label, value in rows)])

"""How large a benchmark is, and what it found: figures, the control they are compared with, whether the goal holds."""

import os
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

Size = TypeVar("Size", int, float)


def is_smoke() -> bool:
    """Whether this is `./run bench --smoke`: all is measured, but so little of it that the figures mean nothing."""
    return bool(os.environ.get("BENCH_SMOKE"))


def sized(full: Size, *, smoke: Size) -> Size:
    """Return how many, or how long: the full size, or that of a smoke run of a few seconds."""
    return smoke if is_smoke() else full


@dataclass(frozen=True)
class Figure:
    """One measured value with its unit."""

    name: str
    value: float
    unit: str

    def shown(self) -> str:
        """Return it as it is printed: small values with what they have after the point."""
        value = f"{self.value:,.0f}" if self.value >= 100 else f"{self.value:,.4g}"
        return f"{value} {self.unit}".rstrip()


@dataclass(frozen=True)
class Need:
    """Something else that must hold, besides the ratio."""

    name: str
    value: float
    goal: float
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal


@dataclass(frozen=True)
class Result:
    """The answer to one question: `ratio` is figure over control, medians of `runs`; `at_most` turns the goal round."""

    question: str
    figures: tuple[Figure, ...]
    control: Figure
    ratio: float
    goal: float
    runs: int
    at_most: bool = False
    needs: tuple[Need, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether the ratio meets its goal."""
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    @property
    def holds(self) -> bool:
        """Whether the goal is met, and everything else that is needed."""
        return self.is_met and all(need.holds for need in self.needs)

    @property
    def bound(self) -> str:
        """The goal as it is printed."""
        return f"{'at most' if self.at_most else 'at least'} {self.goal:.2f}"

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Result":
        """Return the result that was kept."""
        values = {field.name: kept[field.name] for field in fields(cls)}
        figures = tuple(Figure(**one) for one in kept["figures"])
        needs = tuple(Need(**one) for one in kept["needs"])
        return cls(**{**values, "figures": figures, "control": Figure(**kept["control"]), "needs": needs})

    def as_dict(self) -> dict[str, Any]:
        """Return the result as it is kept."""
        return {**asdict(self), "holds": self.holds}

    def table(self, name: str) -> str:
        """Return the result as it is printed."""
        rows = [(figure.name, figure.shown()) for figure in (*self.figures, self.control)]
        rows.append(("ratio", f"{self.ratio:.2f} (goal {self.bound}: {'holds' if self.is_met else 'missed'})"))
        for need in self.needs:
            bound = f"{'at most' if need.at_most else 'at least'} {need.goal:g}"
            rows.append((need.name, f"{need.value:.4g} ({bound}: {'holds' if need.holds else 'missed'})"))
        return "\n".join([f"{name}: {self.question}", *(f"  {label:<34}{value:>34}" for label, value in rows)])

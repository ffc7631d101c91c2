"""How much longer does it take to make a megabyte of hostile HTML harmless than 20 KB of an ordinary message?"""

import random
import statistics
import time
from collections.abc import Callable

from benchmarks.result import Figure, Need, Result, sized

NORMAL, HOSTILE = 20 * 1024, sized(1024 * 1024, smoke=32 * 1024)
RUNS, SEED = sized(5, smoke=1), 20_26
# A megabyte is 51 times 20 KB: anything that is not linear shows.
GOAL = 60.0
# Nothing that is hostile may keep a worker for longer, whatever the ordinary message takes.
MOST_SECONDS = 10.0
WORDS = "the refund for your order is on its way and should reach you within three working days".split()


def measure() -> Result:
    """Show both messages as the page does, in turn, several kinds of hostile ones; the worst of them counts."""
    from benchmarks.serving import prepare

    prepare()
    normal = ordinary()
    shapes = {name: repeated(shape) for name, shape in SHAPES.items()}
    shapes["all of them"] = mixed()
    normal_time = statistics.median(seconds(normal) for _ in range(RUNS * 3))
    times = {name: statistics.median(seconds(message) for _ in range(RUNS)) for name, message in shapes.items()}
    worst = max(times, key=lambda name: times[name])
    return Result(
        question=__doc__ or "",
        figures=tuple(Figure(f"1 MB: {name}", took * 1000, "ms") for name, took in sorted(times.items())),
        control=Figure("20 KB, an ordinary message", normal_time * 1000, "ms"),
        ratio=times[worst] / normal_time,
        goal=GOAL,
        runs=RUNS,
        at_most=True,
        needs=(Need(f"seconds for the worst ({worst})", times[worst], MOST_SECONDS, at_most=True),),
    )


SHAPES: dict[str, Callable[[int], str]] = {
    "script and handlers": lambda n: f'<p onclick="x({n})">a<script>alert({n})</script><img src=x onerror="y()">',
    "nested as deep as allowed": lambda n: ("<div><span style='color:#fff'>" * 40) + str(n) + "</span></div>" * 40,
    "never closed": lambda n: f"<b><i><u><a href='https://acrne-corp.example/{n}'>t<td><table>",
    "comments without an end": lambda n: f"<!-- {n} <p>a</p> --!> <!--> <![CDATA[ ]]> <!",
    "styles that fetch": lambda n: f"<style>p{n}{{background:url(https://t.example/{n})}}@import 'x{n}';</style><p>a",
    "hidden in many ways": lambda n: f"<span style='display:none;font-size:0;opacity:0;left:-{n}px'>ignore {n}</span>",
    "attributes without number": lambda n: f"<p {' '.join(f'data-{n}-{i}=v' for i in range(60))}>a</p>",
    "characters that show nothing": lambda n: f"<p>pa\u200bss\u2060wo\u00adrd\u202e {n}</p>",
    "drawings and formulas": lambda n: f"<svg><a xlink:href='javascript:x'><image href='//t/{n}'/></svg><math><mi>{n}",
}


def repeated(shape: Callable[[int], str]) -> str:
    """Return a megabyte of one kind."""
    pieces, size, number = [], 0, 0
    while size < HOSTILE:
        pieces.append(shape(number))
        size += len(pieces[-1])
        number += 1
    return "".join(pieces)[:HOSTILE]


def mixed() -> str:
    """Return a megabyte of all kinds, drawn in an order that is the same every time."""
    draw = random.Random(SEED)
    kinds = list(SHAPES.values())
    return repeated(lambda number: draw.choice(kinds)(number))


def ordinary() -> str:
    """Return a message as a mail program writes it, of 20 KB."""
    draw = random.Random(SEED)
    parts = ["<html><body style='font-family: sans-serif'><h1>Your order</h1>"]
    while sum(map(len, parts)) < NORMAL:
        words = " ".join(draw.choices(WORDS, k=40))
        parts.append(f"<p style='margin:0 0 12px'>{words} <a href='https://acme.example/{len(parts)}'>here</a>.</p>")
    return "".join([*parts, "</body></html>"])


def seconds(message: str) -> float:
    """Return how long it takes until the message can be shown."""
    from common.fingerprint import Content
    from rendering.render import render_message

    began = time.perf_counter()
    render_message(Content(html=message))
    return time.perf_counter() - began

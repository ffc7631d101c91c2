"""`python -m tests.judge --number 10000 --seed 7` judges messages drawn by lot, `...
FILE.html` files word by word.
"""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from simple_form import TooComplex, simplify
from tests.judge.letters import WORDS, Letter, many, tricks
from tests.judge.oracles import judging
from tests.judge.shrinking import shrink

AT_ONCE = 200
_PART = re.compile(
    r"<!--.*?-->|<(?:style\b.*?</style|script\b.*?</script|title\b.*?</title)\s*>|<[^<>]*>|&[#\w]+;?"
    r"|(?P<word>[^\W\d_]+)",
    re.DOTALL | re.IGNORECASE,
)


def main(asked):
    """Judge, print the counts and each miss; 1 where something is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.judge", description=__doc__)
    parser.add_argument(
        "files", nargs="*", type=Path, help="messages to judge word by word"
    )
    parser.add_argument(
        "--number", type=int, default=2000, help="how many messages are drawn by lot"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--unmarked",
        action="store_true",
        help="judge only those of which no change concerns words",
    )
    parser.add_argument(
        "--tricks", action="store_true", help="judge tricks.txt instead"
    )
    parser.add_argument(
        "--most",
        type=int,
        default=30,
        help="how many misses are made small and printed",
    )
    options = parser.parse_args(asked)
    with judging() as judge:
        if options.files:
            return _judge_files(judge, options.files)
        letters = (
            list(tricks())
            if options.tricks
            else list(many(options.number, options.seed))
        )
        if options.unmarked:
            letters = [one for one in letters if not _is_marked(one)]
        return _judge_many(judge, letters, options.most)


def _is_marked(letter):
    try:
        return any(one.concerns_words for one in simplify(letter.html).changes)
    except TooComplex:
        return True


def _judge_many(judge, letters, most):
    counts = Counter()
    missed = []
    for at in range(0, len(letters), AT_ONCE):
        for one in judge.judge(letters[at : at + AT_ONCE]):
            counts += count(one)
            missed += [(one.letter, miss.kind) for miss in one.misses]
        print(f"{at + AT_ONCE}: {_said(counts)}", file=sys.stderr)
    for letter, kind in missed[:most]:
        small = shrink(judge, letter, kind)
        print(
            f"{' '.join(kind)} ({small.width} pixels, {small.scheme})\n  {small.html}\n",
            flush=True,
        )
    print(_said(counts))
    return 1 if missed else 0


def count(one):
    """Return what is counted of a judgement."""
    counts = Counter(
        ["judged", *one.does, *(" ".join(miss.kind) for miss in one.misses)]
    )
    counts["refused"] += one.is_refused
    counts["marked"] += one.is_marked
    counts["marked for nothing"] += (
        one.is_marked and one.letter.is_whole and not one.does
    )
    counts["misses"] += len(one.misses)
    return +counts


def _said(counts):
    return ", ".join(f"{number} {name}" for name, number in counts.most_common())


def _judge_files(judge, files):
    missed = 0
    for path in files:
        html = path.read_text(encoding="utf-8", errors="replace")
        number = len([one for one in _PART.findall(html) if one])
        letters = [
            Letter(with_own_words(html, at), 640, is_whole=True)
            for at in range(0, max(number, 1), len(WORDS))
        ]
        found = judge.judge(letters)
        does = (
            ", ".join(sorted({name for one in found for name in one.does}))
            or "nothing to its words"
        )
        how = (
            "too complex"
            if found[0].is_refused
            else "marked"
            if found[0].is_marked
            else "not marked"
        )
        print(f"{path}: {how}; does {does}")
        for one in found:
            for miss in one.misses:
                missed += 1
                print(f"  {' '.join(miss.kind)}: {', '.join(miss.words[:20])}")
                print(f"    {shrink(judge, one.letter, miss.kind).html}")
    return 1 if missed else 0


def with_own_words(html, first):
    """Return a message in which a hundred words of its text, from this one on, are
    words that can be judged.
    """
    words = iter([""] * first + WORDS)
    return _PART.sub(
        lambda found: found[0] if not found["word"] else next(words, "") or found[0],
        html,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Leaves most variants of a test to `./run test --all`."""

import pytest


def variants(cases, ordinary):
    """The cases of a parametrised test, of which the ordinary run tries the first
    `ordinary` ones.
    """
    cases = list(cases)
    return cases[:ordinary] + [
        pytest.param(
            *(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.slow
        )
        for one in cases[ordinary:]
    ]

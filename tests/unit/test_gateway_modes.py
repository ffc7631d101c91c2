"""Which oversight mode holds for a message."""

import itertools

import pytest

from gateway.modes import Mode, effective_mode, is_gated, stricter


@pytest.mark.parametrize(("mailbox", "asked"), list(itertools.product(Mode, Mode)))
def test_effective_mode_is_the_stricter_unless_the_mailbox_allows_looser(mailbox: Mode, asked: Mode):
    assert effective_mode(mailbox=mailbox, asked=asked, allow_looser=False) is stricter(mailbox, asked)
    loosened = effective_mode(mailbox=mailbox, asked=asked, allow_looser=True)
    assert loosened is (Mode.READ_ONLY if mailbox is Mode.READ_ONLY else asked)


def test_effective_mode_without_a_wish_is_the_mailbox_s():
    assert effective_mode(mailbox=Mode.AUTONOMOUS, asked=None, allow_looser=True) is Mode.AUTONOMOUS


def test_gated_modes():
    assert {mode for mode in Mode if is_gated(mode)} == {Mode.GATED_ALL, Mode.GATED_SEND}

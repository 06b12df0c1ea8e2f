"""Card numbers where none belongs: found in a text, so that it is refused and never stored.

Pure. Looks for what people paste by mistake, not for what somebody hides on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bursar import errors

DIGITS_MIN = 13
DIGITS_MAX = 19
FIRST_DIGITS = "23456"
DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""What a digit counts in Luhn's sum where it counts twice."""

# Digits that stand alone (in an id, letters stand beside them), with dashes between them or not.
# The dash at an end matters: the last parts of a UUID may be digits.
GROUP = r"(?<![\w-])[0-9]+(?:-[0-9]+)*(?![\w-])"
GROUPS = re.compile(rf"{GROUP}(?:[ \u00a0]{GROUP})*")
SEPARATOR = re.compile("[ \u00a0]")


class CardNumberRefused(errors.Invalid):
    """A text holds a card number; cards are entered on the payment provider's page alone."""

    code = "card_number_refused"


def holds_card_number(text: str) -> bool:
    """Whether 13 to 19 digits that could be a card's number stand in `text` by themselves."""
    if len(text) < DIGITS_MIN:
        return False
    return any(
        _holds(SEPARATOR.split(found[0].replace("-", ""))) for found in GROUPS.finditer(text)
    )


def _holds(groups: Sequence[str]) -> bool:
    """Whether neighbouring groups make a number: other digits may stand before and behind it."""
    for first, group in enumerate(groups):
        if group[0] not in FIRST_DIGITS:
            continue
        # Luhn's sum of the digits so far, if the last of them counts once, and if it counts twice.
        length = once = twice = 0
        for other in groups[first : first + DIGITS_MAX]:
            length += len(other)
            if length > DIGITS_MAX:
                break
            for digit in map(int, other):
                once, twice = twice + digit, once + DOUBLED[digit]
            if length >= DIGITS_MIN and once % 10 == 0:
                return True
    return False

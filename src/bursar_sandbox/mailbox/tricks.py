"""Addresses that make the mail server misbehave, so that a shop sees what then becomes of a letter.

The part before the @ (up to a +) names the trick, at any domain. Those that say "once" happen to
the first letter for an address; the next one goes through.
"""

from __future__ import annotations

from typing import Literal

Trick = Literal[
    "slow", "refused", "greylisted", "full", "hangs-up-before", "hangs-up-inside", "hangs-up-after"
]
TRICKS: dict[str, str] = {
    "slow": "every answer takes two seconds",
    "refused": "the address is refused for good (550)",
    "greylisted": "once: try again later (451)",
    "full": "the letter is refused for good once it is there (552)",
    "hangs-up-before": "once: the line is cut before the letter",
    "hangs-up-inside": "once: the line is cut in the middle of the letter",
    "hangs-up-after": "once: the letter is kept, and the line is cut before the answer",
}
_ONCE = {"greylisted", "hangs-up-before", "hangs-up-inside", "hangs-up-after"}


class Tricks:
    """Which trick is due for an address, and which were played already."""

    def __init__(self) -> None:
        self._played: set[str] = set()

    def of(self, address: str) -> str | None:
        """The trick for an address, if any is left."""
        name = address.partition("@")[0].partition("+")[0].lower()
        return None if name not in TRICKS or address in self._played else name

    def played(self, address: str) -> None:
        """Remember that the trick of an address was played."""
        name = address.partition("@")[0].partition("+")[0].lower()
        if name in _ONCE:
            self._played.add(address)

    def forget(self) -> None:
        """Play them all again."""
        self._played.clear()

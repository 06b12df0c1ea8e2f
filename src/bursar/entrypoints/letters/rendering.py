"""A letter as plain text and as HTML that mail programs show: tables and inline styles, no script,
no picture, nothing that is fetched from anywhere."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bursar.entrypoints.letters.letter import Letter

WIDTH = 72
_TEMPLATES = Path(__file__).parent / "templates"
# The bar beside the heading, seen on light and dark grounds alike.
TONES = {"good": "#048f51", "wait": "#ab7302", "bad": "#c04c48", "note": "#3077cd"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A letter in both its forms, with its subject."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What stands on each letter: the shop's name, its colours, whether the money is play money."""

    shop: str
    accent: str
    accent_label: str
    test: bool


def render(letter: Letter, head: Letterhead) -> Rendered:
    """The letter; a test's subject begins with [Test]."""
    html = _environment(html=True).get_template("letter.html")
    text = _environment(html=False).get_template("letter.txt")
    values = {"letter": letter, "head": head, "bar": TONES[letter.tone]}
    subject = f"[Test] {letter.subject}" if head.test else letter.subject
    return Rendered(subject, text.render(values), html.render(values, subject=subject))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=html,  # noqa: S701 - plain text has nothing to escape
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["wrapped"] = _wrapped
    return environment

"""The docs say what the code says: every error, every setting, every command, every link."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from sources import ROOT, modules, name, parsed, text

import bursar.access
import bursar.billing
import bursar.messages
from bursar import errors
from bursar.config import Settings
from bursar.entrypoints.cli.app import COMMANDS

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("src/**/*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.M)
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def tree(family: type[errors.Error]) -> list[type[errors.Error]]:
    """A family and everything below it."""
    return [family, *(leaf for child in family.__subclasses__() for leaf in tree(child))]


def headings(path: Path, level: int) -> list[str]:
    mark = "#" * level + " "
    body = FENCE.sub("", text(path))
    return [line[len(mark) :].strip(" `") for line in body.splitlines() if line.startswith(mark)]

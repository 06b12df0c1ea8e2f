"""What no file of ours says: work put off, places of one machine, addresses of a package index."""

from __future__ import annotations

import re

from tidy.sources import ROOT, name, text, texts

# Put together here, so that this file doesn't hold what it looks for.
PUT_OFF = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
PLACES = re.compile(
    r"(?<![\w.])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "tm" + "p")) + r")/[\w.]"
)
INDEX = re.compile(r"\b(?:index-url|\"resolved\":|pypi\.org/simple|registry\.npmjs)", re.I)


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name(path)}:{number}"
        for path in texts()
        for number, line in enumerate(text(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def test_nothing_is_put_off_in_a_comment() -> None:
    assert found(PUT_OFF) == []


def test_no_path_of_a_machine_is_written_down() -> None:
    assert found(PLACES) == []


def test_no_package_index_is_named() -> None:
    this = name(ROOT / "tests" / "tidy" / "test_texts.py")
    known = {this, "tests/e2e/test_run.py"}
    assert [place for place in found(INDEX) if place.split(":")[0] not in known] == []

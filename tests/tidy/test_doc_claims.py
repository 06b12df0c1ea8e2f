"""Pages that name a test or quote a message name one that is there."""

from __future__ import annotations

import ast
import re

import pytest

from tidy.sources import PACKAGES, ROOT, modules, parsed, text

CASES = ROOT / "docs" / "concepts" / "money-cases.md"
TROUBLE = ROOT / "docs" / "troubleshooting.md"
TEST_LINK = re.compile(r"\[`(test_\w+)`\]\(\.\./\.\./(tests/[\w/]+\.py)\)")


def rows() -> list[list[str]]:
    """The cells of every case in the page's tables."""
    lines = [line for line in text(CASES).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] not in ("Case", "---")]


def test_every_money_case_names_a_test_or_what_it_waits_for() -> None:
    assert len(rows()) >= 18
    for case, outcome, proof in rows():
        assert case, proof
        assert outcome, proof
        assert TEST_LINK.fullmatch(proof) or re.fullmatch(r"not yet: \w[\w ]+", proof), case


@pytest.mark.parametrize("proof", [row[2] for row in rows() if not row[2].startswith("not yet")])
def test_the_test_that_a_money_case_names_is_there(proof: str) -> None:
    found = TEST_LINK.fullmatch(proof)
    assert found is not None
    functions = {
        node.name
        for node in parsed(ROOT / found[2]).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert found[1] in functions


def messages() -> list[str]:
    """What the page's entries quote of what people see, each a part between two gaps."""
    quoted = re.findall(r"^\*\*`([^`]+)`", text(TROUBLE), re.M)
    return [part.strip(" .") for quote in quoted for part in quote.split("…")]


def spoken() -> str:
    """Every text of the code on one line, pieces that stand side by side joined."""
    files = [*modules(*PACKAGES), ROOT / "run.py"]
    return "\n".join(re.sub(r'"\s*\n\s*f?"', "", text(path)) for path in files)


def test_what_troubleshooting_quotes_is_what_the_code_says() -> None:
    parts = [part for part in messages() if len(part) > 3]
    assert len(parts) > 15
    said = spoken()
    assert [part for part in parts if part not in said] == []

"""Nothing grows fat unseen: modules, functions, lines."""

from __future__ import annotations

import ast
import re

from tidy.sources import ROOT, all_python, name, parsed, text

MODULE_LINES = 400
TEST_LINES = 500
FUNCTION_LINES = 70
COLUMNS = 100
# A remark to a checker stands behind its line, and does not count, as for the formatter.
REMARK = re.compile(r"  # (?:noqa|type: ignore).*")


def test_no_module_is_longer_than_400_lines_and_no_test_than_500() -> None:
    tests = ROOT / "tests"
    long = {
        name(path): lines
        for path in all_python()
        if (lines := len(text(path).splitlines()))
        > (TEST_LINES if path.is_relative_to(tests) else MODULE_LINES)
    }
    assert long == {}


def test_no_function_is_longer_than_70_lines() -> None:
    long = {
        f"{name(path)}:{node.name}": lines
        for path in all_python()
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


def test_no_line_of_code_is_wider_than_100_columns() -> None:
    files = [*all_python(), *ROOT.glob("src/**/*.sql")]
    wide = [
        f"{name(path)}:{number}"
        for path in files
        for number, line in enumerate(text(path).splitlines(), start=1)
        if len(REMARK.sub("", line)) > COLUMNS
    ]
    assert wide == []

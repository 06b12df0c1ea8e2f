"""The house stays easy to see: names of rooms, the heads of modules, where imports stand."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tidy.sources import ROOT, modules, name, parsed

NO_ROOMS = {
    *("util", "utils", "kit", "common", "helper", "helpers", "core", "base"),
    *("manager", "managers", "misc", "shared", "lib", "tools"),
}

# Imports inside a function, each with its reason. A circle is never one.
LATE_IMPORTS: dict[str, str] = {}


def test_no_room_has_a_name_that_says_nothing() -> None:
    said = {
        name(path)
        for path in modules()
        for part in path.relative_to(ROOT / "src").with_suffix("").parts
        if part.lower() in NO_ROOMS
    }
    assert said == set()


def test_every_module_says_what_it_owns() -> None:
    silent = [name(path) for path in modules() if not ast.get_docstring(parsed(path))]
    assert silent == []


def test_every_import_stands_at_the_top() -> None:
    late = {name(path) for path in modules() if _imports_inside_functions(path)}
    assert late == set(LATE_IMPORTS)


def _imports_inside_functions(path: Path) -> bool:
    return any(
        isinstance(inner, (ast.Import, ast.ImportFrom))
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    )


def test_rooms_import_only_what_they_may() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(program), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_import_without_opening_anything() -> None:
    # A module that connects, reads settings or starts a thread when imported can't be composed.
    names = [
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for path in modules()
        if path.name not in {"__main__.py", "launch.py"}
    ]
    code = (
        "import importlib, socket, threading\n"
        "def refuse(*a, **k): raise AssertionError('opened something')\n"
        "socket.socket.connect = refuse\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

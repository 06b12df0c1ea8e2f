"""The project's files as the tidy tests read them: text and syntax trees, each read once."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "src" / "bursar", ROOT / "src" / "bursar_sandbox")
TEXTS = {".py", ".sql", ".md", ".toml", ".html", ".css", ".js", ".sh", ".ini", ".cfg", ".example"}
SKIPPED = {".git", ".venv", "node_modules", "__pycache__", ".hypothesis", ".cache", "dist"}


def modules(*folders: Path) -> list[Path]:
    """All Python files under `folders`, or under the packages."""
    found = [path for folder in folders or PACKAGES for path in folder.rglob("*.py")]
    return sorted(path for path in found if not SKIPPED & set(path.parts))


def all_python() -> list[Path]:
    """Every Python file of ours: packages, tests, benchmarks, run.py."""
    folders = [folder for folder in (ROOT / "tests", ROOT / "bench") if folder.is_dir()]
    return [*modules(*PACKAGES, *folders), *sorted(ROOT.glob("*.py"))]


def texts() -> list[Path]:
    """Every text file that a person writes."""
    found = []
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts
        # A folder that begins with a dot is a tool's cache, but for the one with our CI in it.
        if SKIPPED & set(inside) or (inside[0].startswith(".") and len(inside) > 1):
            continue
        if path.is_file() and path.suffix in TEXTS:
            found.append(path)
    return sorted([*found, ROOT / ".ci" / "run", ROOT / ".importlinter", ROOT / ".env.example"])


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=str(path))


def name(path: Path) -> str:
    """The path as people write it, from the project's root."""
    return path.relative_to(ROOT).as_posix()

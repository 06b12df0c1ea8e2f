"""Owns the judgement of a whole recording of the sandbox: every answer and every webhook in it.

A recording has one JSON object per line: kind, method, path, status, body. The undocumented
payment_pages and the sandbox's own switches have no types to be held against; of the former only
JSON is asked.
"""

import json
from pathlib import Path

from stripe_schema import legacy
from stripe_schema.build import SchemaUnavailableError
from stripe_schema.schema import Schema, check, load

API = "/v1/"
OWN = "/_sandbox/"
UNDOCUMENTED = "/v1/payment_pages/"


def problems(record_file: Path, schema: Schema | None = None) -> list[str]:
    """Return one line per fault in the recording, each with its line number and request.

    Without `schema` the one of `load` is taken; SchemaUnavailableError where there is none. An
    empty recording is a fault too: it would prove nothing.
    """
    known = schema or load()
    if known is None:
        raise SchemaUnavailableError("no schema to hold the recording against")
    # Not splitlines: a JSON string may hold U+2028 as it is, which that would take for a line end.
    lines = record_file.read_text(encoding="utf-8").split("\n")
    found = [] if any(line.strip() for line in lines) else [f"{record_file.name}: nothing recorded"]
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found += [f"line {number} {fault}" for fault in _line_problems(line, known)]
    return found


def _line_problems(line: str, schema: Schema) -> list[str]:
    try:
        entry = json.loads(line)
    except ValueError:
        return ["is not JSON"]
    if not isinstance(entry, dict) or entry.get("kind") not in ("response", "webhook"):
        return ["is neither a response nor a webhook"]
    path = str(entry.get("path", ""))
    where = f"{entry['kind']} {entry.get('method')} {path} {entry.get('status')}"
    if entry["kind"] == "webhook":
        faults = _webhook_faults(entry.get("body"), schema)
    else:
        faults = _response_faults(path, entry.get("status"), entry.get("body"), schema)
    return [f"{where}: {fault}" for fault in faults]


def _webhook_faults(body: object, schema: Schema) -> list[str]:
    if not isinstance(body, dict) or body.get("object") != "event":
        return ["the body is not an event"]
    version = str(body.get("api_version"))
    if version < legacy.BEFORE:
        return _old_faults(body)
    # Of the versions between no types are at hand: those endpoints get shapes of their own.
    return check(body, schema) if version >= schema.api_version else []


def _old_faults(event: dict[str, object]) -> list[str]:
    data = event.get("data")
    thing = data.get("object") if isinstance(data, dict) else None
    if not isinstance(thing, dict):
        return ["the event has no object"]
    # What came later has no types of that time.
    known = legacy.load()
    return legacy.check(thing, known) if thing.get("object") in known else []


def _response_faults(path: str, status: object, body: object, schema: Schema) -> list[str]:
    if path.startswith(OWN):
        return []
    if not path.startswith(API):
        # Hosted pages are no part of the API; but an object is an object wherever it's served.
        is_object = isinstance(body, dict) and "object" in body
        return check(body, schema) if is_object else []
    if not isinstance(body, dict):
        return ["the body is not a JSON object"]
    if path.startswith(UNDOCUMENTED):
        return []
    if not isinstance(status, int):
        return ["no status was recorded"]
    refused = "error" in body and "object" not in body
    found = check(body, schema)
    if refused != (status >= 400):
        found.append("status and body disagree on whether this is an error")
    return found

"""Owns the judgement of one document of Stripe's API: object, list, event or error.

It finds the definition by what the document says it is and hands the rest to `values`; it never
talks to a server and knows nothing of Bursar.
"""

import json
import os
from dataclasses import dataclass

from stripe_schema.build import SchemaUnavailableError, schema_file
from stripe_schema.values import Definition, Definitions, fields, object_faults

ERROR = "PaymentIntents:PaymentIntent.LastPaymentError"
LISTS: dict[str, tuple[dict[str, object], list[str]]] = {
    "list": (
        {"data": {}, "has_more": {"type": "boolean"}, "url": {"type": "string"}},
        ["data", "has_more", "url"],
    ),
    "search_result": (
        {
            "data": {},
            "has_more": {"type": "boolean"},
            "url": {"type": "string"},
            "next_page": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "total_count": {"type": "number"},
        },
        ["data", "has_more", "url"],
    ),
}


@dataclass(frozen=True, slots=True)
class Schema:
    """Stripe's definitions at one API version, and which of them each wire name stands for.

    `kinds` is keyed by the value of `object` and by whether the document is a deleted twin.
    """

    api_version: str
    definitions: Definitions
    kinds: dict[tuple[str, bool], Definition]


def read(text: str) -> Schema:
    """Return the schema in a document of the generator."""
    document = json.loads(text)
    definitions: Definitions = document["$defs"]
    kinds: dict[tuple[str, bool], Definition] = {}
    for definition in definitions.values():
        known = document_fields(definition)
        if "object" in known and known["object"] != "list":
            kinds[str(known["object"]), known.get("deleted") is True] = definition
    return Schema(document["x-api-version"], definitions, kinds)


def document_fields(definition: Definition) -> dict[str, object]:
    """Return the constants by which a definition's documents can be told: object, deleted."""
    known = fields(definition)
    marks = {name: known.get(name) for name in ("object", "deleted")}
    return {n: m["const"] for n, m in marks.items() if isinstance(m, dict) and "const" in m}


def load() -> Schema | None:
    """Return the schema, made on first use, or None where it can't be made.

    Under CI (the variable CI is set) that is an error instead: SchemaUnavailableError.
    """
    try:
        return read(schema_file().read_text(encoding="utf-8"))
    except SchemaUnavailableError:
        if os.environ.get("CI"):
            raise
        return None


def check(body: object, schema: Schema) -> list[str]:
    """Return one line per fault of an API answer or a webhook's event; none when it is faithful."""
    if not isinstance(body, dict):
        return ["answer: not a JSON object"]
    if "error" in body and "object" not in body:
        return _error_faults(body, schema)
    return _document_faults(body, str(body.get("object", "answer")), schema)


def _document_faults(body: object, path: str, schema: Schema) -> list[str]:
    if not isinstance(body, dict):
        return [f"{path}: not an object"]
    name = body.get("object")
    if not isinstance(name, str):
        return [f"{path}: missing required 'object'"]
    if name in LISTS:
        return _list_faults(body, name, path, schema)
    if name == "event":
        return _event_faults(body, path, schema)
    deleted = body.get("deleted") is True
    definition = schema.kinds.get((name, deleted))
    if definition is None:
        return [f"{path}: unknown object name {'deleted ' if deleted else ''}{name!r}"]
    return object_faults(body, definition, path, schema.definitions)


def _list_faults(body: dict[str, object], name: str, path: str, schema: Schema) -> list[str]:
    properties, required = LISTS[name]
    shape = {"properties": {"object": {"const": name}, **properties}, "required": required}
    found = object_faults(body, shape, path, schema.definitions)
    items = body.get("data", [])
    if not isinstance(items, list):
        return [*found, f"{path}.data: expected array"]
    for number, item in enumerate(items):
        found += _document_faults(item, f"{path}.data[{number}]", schema)
    return found


def _event_faults(body: dict[str, object], path: str, schema: Schema) -> list[str]:
    # The types leave `data` open, because each event type carries another kind of object.
    outer = {name: value for name, value in body.items() if name != "data"}
    event = schema.kinds["event", False]
    found = object_faults({**outer, "data": {"object": {}}}, event, path, schema.definitions)
    data = body.get("data")
    if not isinstance(data, dict) or "object" not in data:
        return [*found, f"{path}.data: missing required 'object'"]
    found += _document_faults(data["object"], f"{path}.data.object", schema)
    known = _fields_of(data["object"], schema)
    previous = data.get("previous_attributes", {})
    if not isinstance(previous, dict):
        return [*found, f"{path}.data.previous_attributes: expected object"]
    for name in previous:
        if name not in known:
            found.append(f"{path}.data.previous_attributes.{name}: unknown field")
    unknown = data.keys() - {"object", "previous_attributes"}
    return found + [f"{path}.data.{name}: unknown field" for name in sorted(unknown)]


def _fields_of(body: object, schema: Schema) -> dict[str, object]:
    name = body.get("object") if isinstance(body, dict) else None
    definition = schema.kinds.get((str(name), False))
    return {} if definition is None else fields(definition)


def _error_faults(body: dict[str, object], schema: Schema) -> list[str]:
    error = body["error"]
    if not isinstance(error, dict):
        return ["error: not an object"]
    # Stripe answers with the same object that it keeps as an intent's last error.
    found = object_faults(error, schema.definitions[ERROR], "error", schema.definitions)
    if "message" not in error:
        found.append("error: missing required 'message'")
    return found + [f"{name}: unknown field" for name in body if name != "error"]

"""Owns the walk of one JSON value along one definition; knows nothing of envelopes or HTTP.

It reads the small dialect that the generator writes: `$ref`, `anyOf`, `const`, `enum`, `type`,
`properties`, `required`, `items`, `additionalProperties`. It never stops at the first fault, except
below an object of the wrong kind, where every further line would only repeat the first.
"""

from collections.abc import Mapping

Definition = Mapping[str, object]
Definitions = Mapping[str, Definition]

_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def definition_at(schema: object, definitions: Definitions) -> Definition:
    """Return the schema itself, or what its `$ref` points to."""
    assert isinstance(schema, dict), f"not a schema: {schema!r}"
    target = schema.get("$ref")
    return definitions[target.removeprefix("#/$defs/")] if isinstance(target, str) else schema


def faults(value: object, schema: object, path: str, definitions: Definitions) -> list[str]:
    """Return one line per fault of `value`, each beginning with the path of the faulty place."""
    wanted = definition_at(schema, definitions)
    if "anyOf" in wanted:
        return _any_faults(value, _list(wanted["anyOf"]), path, definitions)
    if members := _members(wanted):
        return _member_faults(value, members, path)
    if not _has_type(value, wanted):
        return [_wrong_type(value, [wanted], path)]
    if isinstance(value, list):
        items = wanted.get("items", {})
        each = (faults(v, items, f"{path}[{i}]", definitions) for i, v in enumerate(value))
        return [line for lines in each for line in lines]
    if isinstance(value, dict) and "properties" in wanted:
        return object_faults(value, wanted, path, definitions)
    return []


def object_faults(
    value: dict[str, object], wanted: Definition, path: str, definitions: Definitions
) -> list[str]:
    """Return the faults of an object: fields missing, unknown to the definition, or wrong."""
    known = fields(wanted)
    # An event's data has a field of this name that is no constant, but the document it carries.
    kind = _dict(known.get("object")).get("const")
    if kind is not None and not _same(value.get("object"), kind):
        return [f"{path}: expected object {kind!r}, got {_show(value.get('object'))}"]
    found = [f"{path}: missing required {n!r}" for n in _required(wanted) if n not in value]
    for name, inner in value.items():
        place = f"{path}.{name}"
        if name in known:
            found += faults(inner, known[name], place, definitions)
        elif "additionalProperties" in wanted:  # A free-form map such as metadata.
            found += faults(inner, wanted["additionalProperties"], place, definitions)
        else:
            found.append(f"{place}: unknown field")
    return found


def fields(wanted: Definition) -> dict[str, object]:
    """Return the properties of an object's definition by name."""
    properties = wanted.get("properties", {})
    assert isinstance(properties, dict), f"not properties: {properties!r}"
    return properties


def _any_faults(
    value: object, branches: list[object], path: str, definitions: Definitions
) -> list[str]:
    """Judge by the branch that the value claims to be, so that a fault has one explanation."""
    choices = [definition_at(branch, definitions) for branch in branches]
    fitting = [choice for choice in choices if _has_type(value, choice)]
    if not fitting:
        return [_wrong_type(value, choices, path)]
    if isinstance(value, dict):
        claimed = [choice for choice in fitting if _claims(value, choice, definitions)]
        if not claimed and len(fitting) > 1:
            kinds = ", ".join(sorted({_kind(choice) for choice in fitting}))
            return [f"{path}: {_show(value)} is none of: {kinds}"]
        fitting = claimed or fitting
    # What still remains (sets of values, or objects without a mark) is told apart by trying.
    return min((faults(value, choice, path, definitions) for choice in fitting), key=len)


def _claims(value: dict[str, object], choice: Definition, definitions: Definitions) -> bool:
    known = fields(choice)
    marks = {name: definition_at(inner, definitions) for name, inner in known.items()}
    constants = {name: inner["const"] for name, inner in marks.items() if "const" in inner}
    return all(_same(value.get(name), const) for name, const in constants.items())


def _members(wanted: Definition) -> list[object]:
    return [wanted["const"]] if "const" in wanted else _list(wanted.get("enum", []))


def _member_faults(value: object, members: list[object], path: str) -> list[str]:
    # An open set may grow on their side, but a value that it lacks today is ours, and invented.
    if any(_same(value, member) for member in members):
        return []
    if value is None:
        return [f"{path}: null, but not nullable"]
    if len(members) == 1:
        return [f"{path}: expected {members[0]!r}, got {_show(value)}"]
    shown = ", ".join(repr(member) for member in members[:8]) + (", …" if members[8:] else "")
    return [f"{path}: {_show(value)} is none of: {shown}"]


def _same(value: object, member: object) -> bool:
    # In Python True equals 1; in JSON it doesn't.
    return type(value) is type(member) and value == member


def _has_type(value: object, wanted: Definition) -> bool:
    if members := _members(wanted):
        return any(type(value) is type(member) for member in members)
    name = wanted.get("type")
    if not isinstance(name, str):
        return True
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _wrong_type(value: object, choices: list[Definition], path: str) -> str:
    if value is None:
        return f"{path}: null, but not nullable"
    kinds = sorted({_kind(choice) for choice in choices})
    return f"{path}: expected {' or '.join(kinds)}, got {_show(value)}"


def _kind(choice: Definition) -> str:
    known = fields(choice)
    mark = known.get("object")
    if isinstance(mark, dict) and "const" in mark:
        return (
            f"deleted {mark['const']}" if "const" in _dict(known.get("deleted")) else mark["const"]
        )
    if _members(choice):
        return "one of its values"
    return str(choice.get("type", "anything"))


def _show(value: object) -> str:
    if isinstance(value, dict):
        return f"an object {value['object']!r}" if "object" in value else "an object"
    if isinstance(value, list):
        return "an array"
    return "null" if value is None else repr(value)


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    assert isinstance(value, list), f"not a list: {value!r}"
    return value


def _required(wanted: Definition) -> list[str]:
    names = wanted.get("required", [])
    assert isinstance(names, list), f"not a list of names: {names!r}"
    return names

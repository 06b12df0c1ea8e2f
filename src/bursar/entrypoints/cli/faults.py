"""`bursar sandbox faults`: lets webhooks and calls go wrong on purpose, and shows what is set.

Owns the options. Which calls and webhooks are hit, the sandbox decides, by the seed.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bursar.entrypoints.cli.calling import Url, sandbox_at
from bursar.entrypoints.cli.durations import METAVAR, parse_seconds
from bursar.entrypoints.cli.output import AsJson, print_json, print_record
from bursar_sandbox import control_client


def chance(help: str) -> Any:
    """An option that takes a chance between 0 and 1."""
    return typer.Option(min=0, max=1, metavar="P", help=help)


def span(help: str) -> Any:
    """An option that takes a duration."""
    return typer.Option(parser=parse_seconds, metavar=METAVAR, help=help)


def run(
    *,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same faults.")] = None,
    duplicate: Annotated[float | None, chance("Send a webhook twice.")] = None,
    drop: Annotated[float | None, chance("Never send a webhook.")] = None,
    delay: Annotated[float | None, span("Hold each webhook back.")] = None,
    reorder: Annotated[bool, typer.Option("--reorder", help="Scatter webhooks.")] = False,
    bad_signature: Annotated[float | None, chance("Sign the first attempt wrongly.")] = None,
    api_500: Annotated[float | None, chance("Refuse a call with 500.")] = None,
    api_500_after: Annotated[float | None, chance("Do it, then answer 500.")] = None,
    api_timeout: Annotated[float | None, chance("Be silent, then hang up.")] = None,
    api_timeout_after: Annotated[float | None, chance("Do it, then be silent.")] = None,
    timeout: Annotated[float | None, span("How long the silence is; 10s.")] = None,
    routes: Annotated[
        list[str] | None, typer.Option(metavar="PREFIX", help="Only calls to these paths.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show what is in force.")] = False,
    off: Annotated[bool, typer.Option("--off", help="Let all go well again.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let webhooks and calls go wrong, each with a chance P from 0 to 1.

    What is not named goes well. Without any option: show what is set.
    """
    given = {
        **{"seed": seed, "duplicate": duplicate, "drop": drop, "delay": delay},
        **{"reorder": reorder or None, "bad_signature": bad_signature, "api_500": api_500},
        **{"api_500_after": api_500_after, "api_timeout": api_timeout},
        **{"api_timeout_after": api_timeout_after, "timeout_seconds": timeout},
        "routes": routes or None,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    if show + off + bool(wanted) > 1:
        raise typer.BadParameter("Say what is to go wrong, or --show, or --off.")
    with sandbox_at(url) as base:
        if off:
            control_client.clear_faults(base)
        if wanted:
            control_client.set_faults(base, **wanted)
        found = control_client.faults(base)
    _tell(found, as_json=as_json)


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif found["faults"] is None:
        print("Nothing goes wrong on purpose.")
    else:
        told = {name: value for name, value in found["faults"].items() if value or name == "seed"}
        print_record(told, as_json=False)
        print(f"decided on {found['calls']} calls and {found['webhooks']} webhooks since")

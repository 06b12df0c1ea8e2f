"""`bursar cases`: what a person must look at."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bursar import config
from bursar.billing import cases, unmatched
from bursar.billing.cases import Case
from bursar.billing.unmatched import Resolution
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.entrypoints.cli.demo.kept import demo_settings
from bursar.entrypoints.cli.opening import with_database, with_wiring
from bursar.entrypoints.cli.output import AsJson, Before, Limit, print_record, print_rows
from bursar.wiring import Wiring, rules_of

group = typer.Typer(no_args_is_help=True)

COLUMNS = ("id", "kind", "state", "payment_id", "amount_minor", "currency", "opened_at", "summary")


@group.command("list")
def list_them(
    state: Annotated[
        Literal["open", "resolved", "all"], typer.Option(help="Which of them.")
    ] = "open",
    before: Before = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List cases, newest first."""

    async def act(db: Database) -> list[cases.Case]:
        wanted = None if state == "all" else state
        async with db.connection() as conn:
            return await cases.list_cases(conn, state=wanted, before=before, limit=limit)

    rows = with_database(config.read(), act)
    none = "No case is open." if state == "open" else "There is no such case."
    print_rows(rows, COLUMNS, as_json=as_json, none=none)


@group.command()
def show(case_id: Annotated[int, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Show a case with everything that is known."""

    async def act(db: Database) -> cases.Case:
        async with db.connection() as conn:
            return await cases.get_case(conn, case_id)

    print_record(with_database(config.read(), act), as_json=as_json)


@group.command()
def resolve(
    case_id: Annotated[int, typer.Argument(metavar="ID")],
    user: Annotated[
        str | None, typer.Option(help="Give unmatched money to this user's own account.")
    ] = None,
    customer: Annotated[int | None, typer.Option(help="Give it to this customer.")] = None,
    note: Annotated[str | None, typer.Option(help="What was done about it.")] = None,
    as_json: AsJson = False,
) -> None:
    """End a case: give its money to an account, which gets its credits, or leave a note."""
    if (user is not None) + (customer is not None) > 1 or not (user or customer or note):
        raise typer.BadParameter("Say one of --user U and --customer C, or a --note.")
    settings = demo_settings(config.read())
    wanted = Resolution(
        case_id=case_id,
        user_id=user,
        customer_id=customer,
        note=note,
        actor="command",
        rules=rules_of(settings),
    )

    async def give(wiring: Wiring) -> Case:
        return await unmatched.resolve(wiring.db, wiring.providers, wanted, clock=wiring.clock)

    async def note_it(db: Database) -> Case:
        return await unmatched.resolve(db, {}, wanted, clock=SystemClock())

    # A note alone needs no provider.
    giving = user is not None or customer is not None
    done = with_wiring(settings, give) if giving else with_database(settings, note_it)
    print_record(done, as_json=as_json)

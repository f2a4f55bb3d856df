"""The commands of a register: they show its content, and correct what no run can find out."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import secrets
import shlex
import socket
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow_provider_leen.api.content import is_uuid
from airflow_provider_leen.api.errors import LeenConfigError, LeenLedgerLostError
from airflow_provider_leen.bulk.journal import Owner
from airflow_provider_leen.bulk.register import take_over_known
from airflow_provider_leen.bulk.register_journal import RegisterJournal, shown_owner
from airflow_provider_leen.bulk.register_known import COLUMNS
from airflow_provider_leen.bulk.register_ledger import RegisterLedger, fill
from airflow_provider_leen.bulk.register_reading import Identity, ScopeContent
from airflow_provider_leen.bulk.register_store import RegisterStore, folder_of, mark
from airflow_provider_leen.bulk.register_table import Known, RegisterTable
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.values import Value
from airflow_provider_leen.commands.register_list import row_of, shown_time
from airflow_provider_leen.commands.terminal import complain, open_hook, print_rows, say
from airflow_provider_leen.tasks.files import object_path
from airflow_provider_leen.tasks.register import known_at

Change = Callable[[RegisterLedger], str]
"""States facts, and returns the text to print."""


def show(options: Namespace) -> int:
    """List the scopes and their contents."""
    root = _root(options)
    rows = []
    for folder in sorted(root.scopes()):
        store = root.at(folder)
        newest = _newest(store)
        if newest is None or (options.scope is not None and newest["scope"] != options.scope):
            continue
        reading = _journal(store, Identity(newest["scope"], "", ""), "show").peek()
        known = list(_table(reading).all_known())
        last = reading.journals[-1][0] if reading.journals else None
        rows.append(
            {
                "scope": newest["scope"],
                "findings": len(known),
                "unknown": sum(one.status == "unknown" for one in known),
                "base_url": newest["base_url"],
                "connection_id": newest["connection_id"],
                "last_written": shown_time(newest["written"]),
                "in_use_by": "" if last is None or last["values"] is not None else shown_owner(last),
                "may_have_lost": "yes" if newest.get("gap") else "",
            }
        )
    if options.scope is not None and not rows:
        raise _no_scope(options, root)
    print_rows(rows, options.output)
    return 0


def list_known(options: Namespace) -> int:
    """List the findings of a scope, their tickets, and what is to be done about them."""
    table = _scope(options)
    rows = [row_of(known, table.history(known.key)) for known in table.all_known()]
    print_rows(rows, options.output)
    return 0


def export(options: Namespace) -> int:
    """Print the findings that have a ticket, or need none, in the format of ``known_path`` and ``import``."""
    text, left_out = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for known in _scope(options).all_known():
        if known.status in ("created", "existing"):
            writer.writerow([known.identifier, known.vendor_ticket_id, known.ticket_id])
        else:
            left_out += 1
    say(text.getvalue().rstrip("\n"))
    if left_out:
        complain(f"Left out: {counted(left_out, 'finding')} without a ticket, or with an unknown outcome.")
    return 0


def forget(options: Namespace) -> int:
    """Let findings get new tickets in the next run; the old ones are not changed in the tracker."""

    def change(ledger: RegisterLedger) -> str:
        keys = [_known_in(ledger, identifier).key for identifier in options.identifiers]
        ledger.table.enter(keys)
        ledger.table.forgotten(keys)
        return f"Forgotten: {counted(len(keys), 'finding')}. The next run with them files new tickets."

    return _change(options, "forget", change)


def settle(options: Namespace) -> int:
    """Record the outcome of a ticket whose outcome is unknown."""
    if bool(options.ticket) == bool(options.absent):
        raise LeenConfigError("Pass exactly one of --ticket KEY and --absent.")

    def change(ledger: RegisterLedger) -> str:
        known = _known_in(ledger, options.identifier)
        if known.status != "unknown":
            ticket = known.vendor_ticket_id or known.ticket_id or "none"
            raise LeenConfigError(f"The outcome of {options.identifier!r} is known: {known.status}, ticket {ticket}.")
        if options.absent:
            ledger.table.absent([known.key])
            return f"{known.identifier} has no ticket. The next run with it files one."
        if (other := ledger.table.owner_of(options.ticket)) is not None:
            raise LeenConfigError(
                f"The {ledger.register.shown_scope} knows {options.ticket} as the ticket of {other!r}. Where both have "
                f"it, run `forget` for {known.identifier!r}, then `import` a file that names the ticket."
            )
        ids = [options.ticket, None] if is_uuid(options.ticket) else [None, options.ticket]
        ledger.table.found({known.key: ids})
        return f"{known.identifier} has the ticket {options.ticket}."

    return _change(options, "settle", change)


def import_known(options: Namespace) -> int:
    """Take over tickets that exist already."""
    known = known_at(str(Path(options.file).absolute()) if "://" not in options.file else options.file)

    def change(ledger: RegisterLedger) -> str:
        before = sum(1 for _ in ledger.table.all_known())
        take_over_known(ledger.table, known)
        new = sum(1 for _ in ledger.table.all_known()) - before
        return f"Taken over: {new} of {counted(len(known), 'finding')}; the others are known already."

    return _change(options, "import", change, identity=_identity_of_connection(options))


def move(options: Namespace) -> int:
    """Move a scope to the Leen connection of an Airflow connection."""
    identity = _identity_of_connection(options)

    def change(ledger: RegisterLedger) -> str:
        return f"The {ledger.register.shown_scope} belongs to {identity.connection_id} at {identity.base_url} now."

    return _change(options, "move", change, identity=identity, moves=True)


def repair(options: Namespace) -> int:
    """Continue without lost records: findings that the register does not know are looked up before they are filed."""

    def change(ledger: RegisterLedger) -> str:
        gaps = ledger.register.gaps
        if not gaps:
            return "Nothing is missing."
        return (
            f"Missing: {', '.join(gaps[:20])}{', …' if len(gaps) > 20 else ''}. From now on a finding that the "
            "register does not know is searched for in the tracker before it is filed."
        )

    return _change(options, "repair", change, repairs=True)


def _change(options: Namespace, command: str, change: Change, *, identity: Identity | None = None, **how: Any) -> int:
    """Take the lease as a run does, state facts, and release it."""
    root = _root(options, new=command == "import")
    options.scope = _scope_meant(options, root)
    store = root.at(folder_of(options.scope))
    newest = _newest(store)
    # Where a part is lost, there may be neither.
    if newest is None and command != "import" and not (command == "repair" and store.names("")):
        raise _no_scope(options, root)
    if identity is None:
        identity = _identity_of_connection(options) if newest is None else _identity_in(newest)
    identity = identity._replace(scope=options.scope)
    if mark(root, {"command": command}):
        complain(f"New register at {options.register}: it is empty.")
    ledger = RegisterLedger(_journal(store, identity, command, **how), None, on_wait=complain)
    said = asyncio.run(_hold(ledger, change))
    say(said)
    return 0


async def _hold(ledger: RegisterLedger, change: Change) -> str:
    await ledger.open()
    try:
        return change(ledger)
    finally:
        await ledger.close()


def _root(options: Namespace, *, new: bool = False) -> RegisterStore:
    register = options.register.strip()
    if not register:
        raise LeenConfigError("`--register` is empty: write the folder or object-storage URL of the register.")
    path = register if "://" in register else str(Path(register).absolute())
    root = RegisterStore(object_path("--register", path))
    try:
        is_there = root.is_marked() or bool(root.scopes())
    except Exception as error:  # each object store has errors of its own
        problem = f"{type(error).__name__}: {str(error)[:300]}"
    else:
        if not is_there and not new:
            raise LeenConfigError(f"There is no register at {register}.")
        return root
    raise LeenConfigError(f"The register at {register} can't be read ({problem}).")


def _journal(store: RegisterStore, identity: Identity, command: str, **how: Any) -> RegisterJournal:
    # Each command is its own run.
    who = {"command": command, "host": socket.gethostname(), "pid": os.getpid(), "call": secrets.token_hex(4)}
    return RegisterJournal(store, Owner(who, 1), identity, **how)


def _newest(store: RegisterStore) -> Value | None:
    """Return the newest head of a scope; without one, the newest lease."""
    for kind in ("head", "lease"):
        for name in sorted((name for name in store.names(kind) if name.isdecimal()), key=int, reverse=True):
            # One that can't be read is as good as lost: reading says so.
            with suppress(LeenLedgerLostError):
                if value := store.get(f"{kind}/{name}"):
                    return value
    return None


def _identity_in(value: Value) -> Identity:
    with suppress(KeyError):
        return Identity(value["scope"], value["base_url"], value["connection_id"])
    raise LeenConfigError("The register was written by another release of airflow-provider-leen.")


def _identity_of_connection(options: Namespace) -> Identity:
    with open_hook(options.conn_id, options.connection_id) as hook:
        settings = hook.get_conn().settings
    return Identity(options.scope or "", settings.base_url, settings.connection_id.lower())


def _scope(options: Namespace) -> RegisterTable:
    root = _root(options)
    options.scope = _scope_meant(options, root)
    store = root.at(folder_of(options.scope))
    newest = _newest(store)
    if newest is None:
        raise _no_scope(options, root)
    return _table(_journal(store, _identity_in(newest), "list").peek())


def _scope_meant(options: Namespace, root: RegisterStore) -> str:
    """Return the scope that a command is for: if none is named, the one without a name, else the only one."""
    if options.scope is not None:
        return str(options.scope)
    scopes = _scopes(root)
    if not scopes or "" in scopes or root.at(folder_of("")).names(""):
        return ""
    if len(scopes) > 1:
        raise LeenConfigError(f"The register at {options.register} has several scopes: name one, {_shown(scopes)}.")
    return scopes[0]


def _no_scope(options: Namespace, root: RegisterStore) -> LeenConfigError:
    scopes = _scopes(root)
    others = f" It has {_shown(scopes)}." if scopes else ""
    return LeenConfigError(f"There is no scope {options.scope!r} in the register at {options.register}.{others}")


def _scopes(root: RegisterStore) -> list[str]:
    return sorted(value["scope"] for folder in root.scopes() if (value := _newest(root.at(folder))) is not None)


def _shown(scopes: Sequence[str]) -> str:
    """Return scopes as options of a command, at most twenty."""
    more = ", …" if len(scopes) > 20 else ""
    return ", ".join(f"--scope {shlex.quote(scope)}" for scope in scopes[:20]) + more


def _table(reading: ScopeContent) -> RegisterTable:
    return fill(reading, reading.scope_id or "", None)


def _known_in(ledger: RegisterLedger, identifier: str) -> Known:
    known = ledger.table.known(identifier)
    if known is None:
        raise LeenConfigError(f"The {ledger.register.shown_scope} does not know {identifier!r}.")
    return known

"""The arguments of ``airflow leen …`` (Airflow 3.2 and newer) and ``python -m airflow_provider_leen …``.

Every ``airflow`` command imports this module, so it imports only the standard library and data. The commands themselves
are in :mod:`airflow_provider_leen.commands`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_leen.sandbox.flags import FLAGS as SANDBOX_FLAGS

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

Flags = dict[str, dict[str, Any]]
"""The options of each argument for argparse, by name."""

HELP = "Create tickets through Leen, and look at what Leen knows"


def field_and_value(text: str) -> tuple[str, str]:
    """Read ``field=value``."""
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form field=value")
    return field.strip(), value


CONNECTION: Flags = {
    "--conn-id": {"default": "leen_default", "help": "the Airflow connection (default: %(default)s)"},
    "--connection-id": {"metavar": "UUID", "help": "the Leen connection ID to use instead of the connection's login"},
}
FORMAT: Flags = {
    "--output": {
        "choices": ("table", "json", "yaml", "plain"),
        "default": "table",
        "help": "the form of the list (default: %(default)s)",
    }
}


@dataclass(frozen=True)
class Command:
    """One command.

    :param name: its name.
    :param help: what it does, in one line.
    :param does: the function that does it, as ``module:function``; it takes the options and returns the exit code.
    :param flags: its arguments.
    """

    name: str
    help: str
    does: str
    flags: Flags

    def __call__(self, options: argparse.Namespace) -> None:
        """Run it, and end the process with its exit code; an error is one sentence on stderr."""
        from airflow_provider_leen.commands.terminal import exit_code_of

        raise SystemExit(exit_code_of(lambda: self.run(options)))

    def run(self, options: argparse.Namespace) -> int:
        """Run it, and return the exit code."""
        module, _, name = self.does.partition(":")
        function: Callable[[argparse.Namespace], int] = getattr(import_module(module), name)
        return function(options)


COMMANDS = (
    Command(
        "check",
        "Ask Leen whether it accepts a connection",
        "airflow_provider_leen.commands.ask:check",
        {"conn_id": {"metavar": "CONN_ID", "help": "the Airflow connection"}}
        | {"--connection-id": CONNECTION["--connection-id"]},
    ),
    Command(
        "create",
        "Create a ticket for every row of a file",
        "airflow_provider_leen.commands.create:create",
        {"file": {"metavar": "FILE", "help": "tickets by Leen's field names: .json, .jsonl, .csv or .sarif"}}
        | CONNECTION
        | {
            "--default": {
                "action": "append",
                "default": [],
                "type": field_and_value,
                "metavar": "FIELD=VALUE",
                "help": "a field that applies to every ticket, such as project_vendor_id=SEC (repeatable)",
            },
            "--priority-map": {
                "action": "append",
                "default": [],
                "type": field_and_value,
                "metavar": "FROM=TO",
                "help": "maps a priority in the file to the ticket's, such as ERROR=HIGH (repeatable)",
            },
            "--if-exists": {
                "choices": ("create", "skip"),
                "default": "create",
                "help": "skip: don't create tickets whose identifier Leen already knows (default: %(default)s)",
            },
            "--embed-identifier": {
                "action": "store_true",
                "help": "end each description with the ticket's key, which finds the ticket if a reply is lost",
            },
            "--dry-run": {
                "action": "store_true",
                "help": "show what would be sent for each row, and send nothing; needs no connection",
            },
            "--output": {"metavar": "FILE", "help": "write the summary with all results there, as JSON"},
        },
    ),
    Command(
        "projects",
        "List the projects that Leen knows",
        "airflow_provider_leen.commands.ask:projects",
        CONNECTION | FORMAT,
    ),
    Command("users", "List the users that Leen knows", "airflow_provider_leen.commands.ask:users", CONNECTION | FORMAT),
    Command(
        "sandbox",
        "Run a local Leen to try things against",
        "airflow_provider_leen.sandbox.__main__:serve",
        SANDBOX_FLAGS,
    ),
)

REGISTER: Flags = {
    "--register": {"metavar": "PATH", "required": True, "help": "the register: a folder or object-storage URL"},
    "--scope": {"help": "the section of the register (default: the only one)"},
}
_IDENTIFIERS: Flags = {"identifiers": {"metavar": "IDENT", "nargs": "+", "help": "the identifiers of findings"}}


def _of_register(name: str, help: str, flags: Flags) -> Command:
    does = {"list": "list_known", "import": "import_known"}.get(name, name)
    return Command(name, help, f"airflow_provider_leen.commands.register:{does}", flags)


REGISTER_COMMANDS = (
    _of_register("show", "List the scopes of a register", REGISTER | FORMAT),
    _of_register("list", "List the findings of a scope, and their tickets", REGISTER | FORMAT),
    _of_register("forget", "Let findings get new tickets in the next run", _IDENTIFIERS | REGISTER),
    _of_register(
        "settle",
        "Record the outcome of a ticket whose outcome is unknown",
        {"identifier": {"metavar": "IDENT", "help": "the finding's identifier"}}
        | REGISTER
        | {
            "--ticket": {"metavar": "KEY", "help": "it is this ticket: the tracker's key, or Leen's id"},
            "--absent": {"action": "store_true", "help": "there is no ticket"},
        },
    ),
    _of_register(
        "import",
        "Take over tickets that exist already",
        {"file": {"metavar": "FILE", "help": "identifier, vendor_ticket_id, ticket_id: .csv or .jsonl"}}
        | REGISTER
        | CONNECTION,
    ),
    _of_register("export", "Print the findings and their tickets, as import takes them", REGISTER),
    _of_register("move", "Move a scope to another Leen connection", REGISTER | CONNECTION),
    _of_register("repair", "Continue a scope although some of its records are lost", REGISTER | CONNECTION),
)
"""The commands of ``register``, which maintain the register."""

REGISTER_HELP = "Maintain the register of which finding has which ticket"


def get_leen_commands() -> list[CLICommand]:
    """Return the commands for Airflow's own command line."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    def arguments(command: Command) -> list[Arg]:
        return [Arg((name,), **options) for name, options in command.flags.items()]

    def actions(commands: Sequence[Command]) -> list[ActionCommand]:
        return [ActionCommand(command.name, command.help, command, arguments(command)) for command in commands]

    register = GroupCommand("register", REGISTER_HELP, actions(REGISTER_COMMANDS))
    return [GroupCommand("leen", HELP, [*actions(COMMANDS), register])]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    :param arguments: the command line, default the process's own.
    """
    from airflow_provider_leen.commands.terminal import Parser, exit_code_of

    parser = Parser(prog="python -m airflow_provider_leen", description=f"{HELP}.")

    def add(parser: argparse.ArgumentParser, commands: Sequence[Command]) -> Any:
        subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
        for command in commands:
            subparser = subparsers.add_parser(command.name, help=command.help, description=f"{command.help}.")
            subparser.set_defaults(command=command)
            for name, details in command.flags.items():
                subparser.add_argument(name, **details)
        return subparsers

    group = add(parser, COMMANDS).add_parser("register", help=REGISTER_HELP, description=f"{REGISTER_HELP}.")
    add(group, REGISTER_COMMANDS)

    def parse_and_run() -> int:
        options = parser.parse_args(arguments)
        chosen: Command = options.command
        return chosen.run(options)

    return exit_code_of(parse_and_run)

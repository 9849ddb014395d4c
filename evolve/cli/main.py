"""The `evolve` command. Commands live one noun a file and are imported only when called, so that help is quick."""

import errno
import importlib
import sys

import click

from evolve.errors import Broken, EvolveError

COMMANDS = {
    "agent": ("evolve.cli.agent", "agent", "Start, stop and look at the live agent service."),
    "approve": ("evolve.cli.consent", "approve", "Approve a candidate: sign exactly these bytes."),
    "audit": ("evolve.cli.audit", "audit", "Read and verify the ledgers."),
    "batch": ("evolve.cli.batch", "batch", "List, show, seal and dismiss batches of failures."),
    "candidate": ("evolve.cli.candidate", "candidate", "List, show, diff and export proposed fixes."),
    "config": ("evolve.cli.config", "config", "Print what is in force, secrets hidden."),
    "decline": ("evolve.cli.consent", "decline", "Decline a candidate."),
    "demo": ("evolve.cli.demo", "demo", "The whole loop on a service with planted defects."),
    "doctor": ("evolve.cli.doctor", "doctor", "Check the machine, the engine and the substrate."),
    "evidence": ("evolve.cli.evidence", "evidence", "List, show and flag failed turns."),
    "init": ("evolve.cli.init", "init", "Make $EVOLVE_HOME with a substrate in it."),
    "people": ("evolve.cli.people", "people", "List and add the people who may decide."),
    "promote": ("evolve.cli.consent", "promote", "Swap an approved candidate in, and watch it."),
    "rollback": ("evolve.cli.consent", "rollback", "Go back to the last good image."),
    "run": ("evolve.cli.run", "run", "Start, watch, stop and resume evolution runs."),
    "scan": ("evolve.cli.evidence", "scan", "Read new events and gather failures."),
    "serve": ("evolve.cli.serve", "serve", "Serve the approval page."),
    "trial": ("evolve.cli.trial", "trial", "Show replays, and run one again."),
    "workflow": ("evolve.cli.workflow", "workflow", "Look at, check and run typed tool workflows."),
    "worker": ("evolve.cli.worker", "worker", "Serve the queue of detached runs."),
}

FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EPERM)


class Commands(click.Group):
    """Imports a command's module when it is asked for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from evolve.cli.output import require_command

        require_command(ctx, args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in sorted(COMMANDS)])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evolving-harness")
def cli() -> None:
    """Evolve an agent service from its own failures, behind a gate that you can trust.

    Exit codes: 0 done, 1 the answer is no, 2 usage or bad input, 3 not found, 4 needs consent or is locked,
    5 the environment is broken, 130 interrupted.
    """


def main() -> None:
    """Entry point: every expected failure is one line and an exit code."""
    as_json = "--json" in sys.argv
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except EvolveError as error:
        _end(error, as_json)
    except click.UsageError as error:
        _usage(error, as_json)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OSError as error:
        if error.errno not in FULL_OR_FORBIDDEN:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _end(Broken(f"{where}{error.strerror}", hint="nothing was left half-written"), as_json)
    except _environment_errors() as error:
        _end(Broken(_first_line(error), hint="`evolve doctor` looks at the machine"), as_json)


def _environment_errors() -> tuple[type[Exception], ...]:
    """What the ground raises when engine, promoter, database or blobs fail. Looked up only when something was raised."""
    import sqlite3

    from git import GitCommandError
    from sqlalchemy.exc import SQLAlchemyError

    from containers.runtime import RuntimeBroken
    from evidence.blobs import BlobError
    from evidence.ledger import LedgerBroken
    from evidence.store import StoreError
    from promote.wire import Unreachable

    ours = (RuntimeBroken, BlobError, LedgerBroken, StoreError, Unreachable)
    return (*ours, SQLAlchemyError, sqlite3.Error, GitCommandError)


def _first_line(error: Exception) -> str:
    """SQLAlchemy wraps the driver's one good line in the statement and its values, GitPython git's in the command."""
    said = getattr(error, "orig", None) or getattr(error, "stderr", None) or error
    text = str(said).strip().removeprefix("stderr: '").rstrip("'")
    return text.splitlines()[0] if text else type(error).__name__


def _end(error: EvolveError, as_json: bool) -> None:
    from evolve.cli.output import fail

    fail(error, as_json)
    sys.exit(error.exit_code)


def _usage(error: click.UsageError, as_json: bool) -> None:
    from evolve.cli.output import fail
    from evolve.errors import BadInput

    if as_json:
        fail(BadInput(error.format_message()), as_json)
    else:
        error.show()
    sys.exit(2)


if __name__ == "__main__":
    main()

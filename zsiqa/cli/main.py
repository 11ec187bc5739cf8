"""The `zsiqa` command. Heavy modules are imported only when a subcommand needs them."""

from __future__ import annotations

import argparse
import io
import sys

from zsiqa import __version__
from zsiqa.cli import audit, claims, data, rank, report, robustness, run, score, status, tables, weights
from zsiqa.cli.options import CommandParser, examples, show_help_alone
from zsiqa.terminal import exit_on_broken_pipe, print_error
from zsiqa.types import MissingPackageError, ZsiqaError, require


@exit_on_broken_pipe()
def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # no lost scores where the terminal lacks a character
        sys.stdout.reconfigure(errors="backslashreplace")
    options = make_parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (ZsiqaError, OSError) as error:
        print_error(error)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = CommandParser(
        prog="zsiqa",
        description="Score distorted images against their references with frozen foundation models, and "
                    "measure how well the scores agree with human labels.",
        **examples("zsiqa score reference.png distorted.png",
                   "zsiqa run backbone=dinov1 distance=wsd dataset=tid2013",
                   "zsiqa COMMAND --help  (options and examples of a command)"))
    parser.add_argument("--version", action="version", version=f"zsiqa {__version__}")
    commands = show_help_alone(parser).add_subparsers(metavar="COMMAND")
    for command in (score, run, status, data, weights, tables, audit, rank, claims, robustness, report):
        command.add_parser(commands)
    _add_completion(parser)
    return parser


def _add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints a script for shells; without shtab, one that says how to install it."""
    option, text = "--print-completion", "print a script that completes in this shell"
    try:
        require("completion in shells", "shtab")
    except MissingPackageError as error:
        message = str(error)

        def refuse(_: str) -> None:
            raise argparse.ArgumentTypeError(message)
        parser.add_argument(option, metavar="SHELL", type=refuse, help=text)
        return
    import shtab

    shtab.add_argument_to(parser, option, help=text)
    _complete_paths(parser)


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Make shells complete the arguments that are files or folders."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_paths(command)
        elif getattr(action.type, "__name__", "") == "Path" or action.metavar == "SOURCE":
            action.complete = (  # type: ignore[attr-defined]
                shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE)


if __name__ == "__main__":
    sys.exit(main())

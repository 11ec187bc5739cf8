"""The `zsiqa` command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import sys

from zsiqa import __version__
from zsiqa.cli import (
    audit,
    completion,
    data,
    merge,
    report,
    run,
    score,
    stats,
    status,
    tables,
    verify,
    weights,
)
from zsiqa.terminal import exit_on_broken_pipe
from zsiqa.types import ZsiqaError


@exit_on_broken_pipe()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (ZsiqaError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="zsiqa", description="Score distorted images against their references with frozen foundation models, and "
                                  "see how well the scores agree with people.",
        epilog="zsiqa COMMAND --help says more.")
    parser.add_argument("--version", action="version", version=f"zsiqa {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (score, run, status, merge, data, weights, tables, audit, verify, stats, report):
        command.add_parser(commands)
    completion.add_parser(commands, parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())

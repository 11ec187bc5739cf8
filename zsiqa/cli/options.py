"""Shared parts of the subcommands: parser, option --scores, argument types, checks of output paths."""

from __future__ import annotations

import errno
import math
import sys
from argparse import Action, ArgumentError, ArgumentParser, ArgumentTypeError, HelpFormatter, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zsiqa.types import ZsiqaError, did_you_mean

if TYPE_CHECKING:
    from zsiqa.results.score_folder import ScoreFolder

EXAMPLES = "examples:"
DEFAULT = "results/scores"


class CommandParser(ArgumentParser):
    """Parser whose errors show the subcommand's usage, and name the option or choice that may be meant."""

    def parse_known_args(  # type: ignore[override]  # overloaded in typeshed
            self, args: Any = None, namespace: Any = None) -> tuple[Namespace, list[str]]:
        """Parse arguments; unknown ones are an error here, where the subcommand is known."""
        self._arguments = list(sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Exit with the usage, the message, and the options that unknown ones are near to."""
        options = [name for name in self._option_string_actions if name.startswith("--")]
        given = (argument.partition("=")[0] for argument in self._arguments if argument.startswith("--"))
        unknown = [name for name in given if not any(option.startswith(name) for option in options)]
        super().error(message + did_you_mean(unknown, options))

    def _check_value(self, action: Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = list(map(str, action.choices))
            raise ArgumentError(action, f"unknown {value}{did_you_mean(str(value), names)}; choose from "
                                        f"{', '.join(names)}")


class _Formatter(HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLES) else super()._fill_text(text, width, indent)


def examples(*lines: str) -> dict[str, Any]:
    """Arguments of a parser whose help ends with these command lines."""
    return {"epilog": "\n  ".join([EXAMPLES, *lines]), "formatter_class": _Formatter}


def show_help_alone(parser: ArgumentParser) -> ArgumentParser:
    """Make a parser with subcommands print its help if none is given; returns it."""
    def show(_: Namespace) -> int:
        parser.print_help()
        return 0
    parser.set_defaults(command=show)
    return parser

def scores_option() -> ArgumentParser:
    """Parent parser with the option --scores, for the subcommands that evaluate."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--scores", nargs="+", action="extend", metavar="SOURCE",
                        help="sources of scores, one or more: a folder of zsiqa, `results` of the official "
                             "repository, `results/Quality assessment` of Liao et al., or FILE.csv with a "
                             f"YAML file beside it or key=value after commas ({DEFAULT}); docs/sources.md")
    return parser


def open_scores(options: Namespace) -> ScoreFolder:
    """Open the sources of the option --scores.

    Raises:
        StoreError: if there is no such file or folder, or a description is wrong.
    """
    from zsiqa.results.combined_sources import open_sources

    return open_sources(options.scores or [DEFAULT])


def require_scores(folder: ScoreFolder) -> None:
    """Check that a folder holds scores.

    Raises:
        ZsiqaError: says how to make some, and names the files that are ignored.
    """
    from zsiqa.results.folder import name_ignored

    if not folder.held():
        ignored = name_ignored(folder)
        raise ZsiqaError(f"{folder.root.absolute()} holds no scores; score something first, for instance "
                         f"`zsiqa run dataset=demo dataset.limit=30`, or name other sources with --scores"
                         + (f". {ignored}" if ignored else ""))


def add_outputs(parser: ArgumentParser, row: str) -> None:
    """Add the options --csv and --markdown; `row` says what one row of the CSV file is."""
    parser.add_argument("--csv", metavar="FILE",
                        help=f"write one row {row} ('-': print them, and nothing else)")
    parser.add_argument("--markdown", metavar="FILE", help="write Markdown ('-': print it, and nothing else)")


def touch_outputs(options: Namespace) -> bool:
    """Make the files of --csv and --markdown before the work starts; return whether one is to be printed.

    Raises:
        ZsiqaError: if a file cannot be made, or both are to be printed.
    """
    if options.csv == options.markdown == "-":
        raise ZsiqaError("only one of --csv and --markdown can be printed; give the other a file")
    for name in ("csv", "markdown"):
        if getattr(options, name) not in (None, "-"):
            touch_output(f"--{name}", Path(getattr(options, name)))
    return "-" in (options.csv, options.markdown)


def write_outputs(options: Namespace, csv: str, markdown: str) -> None:
    """Write or print the texts of --csv and --markdown."""
    for path, text in ((options.csv, csv), (options.markdown, markdown)):
        if path == "-":
            print(text, end="")
        elif path:
            Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")


def at_least(least: float) -> Callable[[str], float]:
    """Make an argument type: a number of the type of `least`, and at least `least`."""
    def number(text: str) -> float:
        value = type(least)(text)
        if not value >= least:
            raise ArgumentTypeError(f"must be at least {least}, found {text}")
        return value
    number.__name__ = type(least).__name__  # argparse prints it in error messages
    return number


def positive(text: str) -> float:
    """Read a number above 0, as an argument type."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"must be above 0, found {text}")
    return value


def make_output(folder: Path, option: str = "--out") -> None:
    """Make the folder of an option before the work starts, so that no finished work is lost.

    Raises:
        ZsiqaError: if it cannot be made.
    """
    with _named_errors(f"{option} {folder}: expected a folder"):
        folder.mkdir(parents=True, exist_ok=True)


def touch_output(option: str, path: Path) -> None:
    """Make the file of an option before the work starts, so that no finished work is lost.

    Raises:
        ZsiqaError: if it cannot be made.
    """
    with _named_errors(f"{option} {path}: expected a file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder is there")
        path.touch()


@contextmanager
def _named_errors(what: str) -> Iterator[None]:
    """Turn an OSError into a ZsiqaError that begins with `what`."""
    try:
        yield
    except OSError as error:
        why = ("a file is in the way" if isinstance(error, FileExistsError | NotADirectoryError)
               else error.strerror)
        raise ZsiqaError(f"{what}, or a place where one can be made: {why}") from error

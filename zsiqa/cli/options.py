"""Shared parts of the subcommands: the option --scores, argument types, checks of output paths."""

from __future__ import annotations

import errno
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zsiqa.types import ZsiqaError

if TYPE_CHECKING:
    from zsiqa.results.folder import ScoreFolder

DEFAULT = "results/scores"


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
    from zsiqa.results.sources import open_sources

    return open_sources(options.scores or [DEFAULT])


def at_least(least: float) -> Callable[[str], float]:
    """Make an argument type: a number of the type of `least`, and at least `least`."""
    def number(text: str) -> float:
        value = type(least)(text)
        if not value >= least:
            raise ArgumentTypeError(f"must be at least {least}, found {text}")
        return value
    number.__name__ = type(least).__name__  # argparse prints it in error messages
    return number


def make_output(folder: Path) -> None:
    """Make the folder of --out before the work starts, so that no finished work is lost.

    Raises:
        ZsiqaError: if it cannot be made.
    """
    with _place(f"--out {folder}: expected a folder"):
        folder.mkdir(parents=True, exist_ok=True)


def touch_output(option: str, path: Path) -> None:
    """Make the file of an option before the work starts, so that no finished work is lost.

    Raises:
        ZsiqaError: if it cannot be made.
    """
    with _place(f"{option} {path}: expected a file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder is there")
        path.touch()


@contextmanager
def _place(what: str) -> Iterator[None]:
    """Turn an OSError into a ZsiqaError that begins with `what`."""
    try:
        yield
    except OSError as error:
        why = ("a file is in the way" if isinstance(error, FileExistsError | NotADirectoryError)
               else error.strerror)
        raise ZsiqaError(f"{what}, or a place where one can be made: {why}") from error

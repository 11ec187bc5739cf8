"""What commands share: types of arguments, folders for output, and a reader who goes away."""

from __future__ import annotations

import errno
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zsiqa.terminal import plural
from zsiqa.types import ZsiqaError

if TYPE_CHECKING:
    pass


def scores_option() -> ArgumentParser:
    """The option --scores of the commands that evaluate."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--scores", type=Path, default=Path("results/scores"), metavar="DIR",
                        help="our own store, or the folder `results` of the official repository (%(default)s)")
    return parser


def parts_hint(scores: Path) -> str:
    """What to do about score files that are still in parts; "" if there are none."""
    begun = len({(part.parent, part.name.split(".")[0]) for part in scores.glob("*/*/*.part")})
    return (f"{plural(begun, 'score file')} in parts: `zsiqa merge --scores {scores}` joins those that are whole, and "
            f"says what the others lack") if begun else ""


def at_least(least: float) -> Callable[[str], float]:
    """An argument's type: a number of the kind of `least`, and not smaller."""
    def number(text: str) -> float:
        value = type(least)(text)
        if not value >= least:
            raise ArgumentTypeError(f"must be at least {least}, found {text}")
        return value
    number.__name__ = type(least).__name__  # in argparse's own messages
    return number


def make_output(folder: Path) -> None:
    """Make the folder of --out, before the work, so that it is not lost. May raise ZsiqaError."""
    with _place(f"--out {folder}: expected a folder"):
        folder.mkdir(parents=True, exist_ok=True)


def touch_output(option: str, path: Path) -> None:
    """Make the file of an option, before the work, likewise. May raise ZsiqaError."""
    with _place(f"{option} {path}: expected a file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder is there")
        path.touch()


@contextmanager
def _place(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = "a file is in the way" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise ZsiqaError(f"{what}, or a place where one can be made: {why}") from error

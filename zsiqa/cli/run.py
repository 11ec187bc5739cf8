"""`zsiqa run`: the same as `python run.py`, from any folder."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`; its arguments go to Hydra unchanged."""
    parser = commands.add_parser(
        "run", prefix_chars="\0", add_help=False,  # no argument begins with NUL, so even --help goes to Hydra
        help="score a data set, like `python run.py`, from any folder (zsiqa run --help)")
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from zsiqa.runs.runner import main

    sys.argv = ["zsiqa run", *options.arguments]  # Hydra reads them from there
    main()
    return 0

"""`zsiqa run`: what `python run.py` does, from anywhere."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to argparse's `commands`. Its arguments are Hydra's, so argparse leaves them alone."""
    parser = commands.add_parser(
        "run", prefix_chars="\0", add_help=False,  # nothing begins with NUL: even --help goes to Hydra
        help="score a data set: `python run.py` from anywhere (zsiqa run --help)")
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from zsiqa.runs.runner import main

    sys.argv = ["zsiqa run", *options.arguments]  # where Hydra looks for them
    main()
    return 0

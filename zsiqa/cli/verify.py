"""`zsiqa verify`: our per-image scores against the authors'."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zsiqa.cli.options import at_least, scores_option


def add_parser(commands: Any) -> None:
    """Add the command to those of `zsiqa`."""
    parser = commands.add_parser(
        "verify", parents=[scores_option()], help="our per-image scores against the authors'",
        description="Compare our scores with the authors', pair by pair. Exit status 1 if a pair diverges, or has no "
                    "score of ours.")
    parser.add_argument("--official", type=Path, required=True, metavar="DIR",
                        help="folder `results` of a clone of the official repository")
    parser.add_argument("--dataset", action="append", metavar="NAME", help="only this data set; may be repeated")
    parser.add_argument("--metric", action="append", metavar="NAME", help="only this metric; may be repeated")
    parser.add_argument("--rtol", type=at_least(0.0), default=1e-3, metavar="X",
                        help="a pair diverges when the difference exceeds this share of the authors' largest score "
                             "of the file (%(default)s)")
    parser.set_defaults(command=_verify)


def _verify(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.verification import to_text, verify
    from zsiqa.results.folder import open_folder

    found = verify(open_folder(options.scores), open_folder(options.official), options.dataset, options.metric,
                   options.rtol)
    print(to_text(found))
    return 0 if found.agree else 1

"""`zsiqa claims`: judge the claims of a paper by rule, from stored scores."""

from __future__ import annotations

import argparse
from typing import Any

from zsiqa.cli.options import (
    add_outputs,
    at_least,
    examples,
    open_scores,
    require_scores,
    scores_option,
    touch_outputs,
    write_outputs,
)
from zsiqa.terminal import fit


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "claims", parents=[scores_option()], help="judge the claims of a paper by rule",
        description="Judge each claim of a paper from per-image scores: which metrics are said to be better "
                    "than which, on which data sets. Verdicts follow from rules (docs/claims.md), with "
                    "intervals and tests that resample references.",
        **examples("zsiqa claims --scores ZS-IQA/results \"liao/results/Quality assessment\"",
                   "zsiqa claims my_claims.yaml --scores results/scores --csv comparisons.csv"))
    parser.add_argument("claims", nargs="?", default="ghildyal2025", metavar="CLAIMS",
                        help="a file of configs/claims without suffix, or the path of a YAML file, before "
                             "other options (%(default)s)")
    parser.add_argument("--replicates", type=at_least(100), default=1000, metavar="B",
                        help="replicates of the bootstrap (%(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the bootstrap (%(default)s)")
    add_outputs(parser, "a comparison")
    parser.set_defaults(command=_claims)


def _claims(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.claim_files import read_claims
    from zsiqa.evaluation.claims import judge
    from zsiqa.report.claims import to_csv, to_markdown, to_text

    paper = read_claims(options.claims)
    folder = open_scores(options)
    require_scores(folder)
    printed = touch_outputs(options)
    verdicts, notes = judge(folder, paper, options.replicates, options.seed)
    if not printed:
        print(fit(to_text(verdicts, notes)))
    write_outputs(options, to_csv(verdicts), to_markdown(verdicts))
    return 0

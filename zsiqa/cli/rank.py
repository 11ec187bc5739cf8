"""`zsiqa rank`: rank metrics, with intervals and paired tests."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zsiqa.cli.options import at_least, make_output, scores_option
from zsiqa.types import require


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "rank", parents=[scores_option()], help="rank metrics, with intervals and paired tests",
        description="Rank the metrics of one data set and perturbation: coefficients with intervals, "
                    "coefficients per reference and per distortion type, and tests of every pair of metrics.")
    parser.add_argument("--dataset", required=True, metavar="NAME",
                        help="data set: live, tid2013, pipal, or your own")
    parser.add_argument("--perturbation", default="original", metavar="NAME",
                        help="perturbation (%(default)s)")
    parser.add_argument("--metric", action="append", metavar="NAME",
                        help="metric to rank; may be repeated (all that have scores)")
    parser.add_argument("--coefficient", default="srcc", choices=("plcc", "srcc", "krcc"),
                        help="coefficient of comparisons and distortion types (%(default)s)")
    parser.add_argument("--replicates", type=at_least(100), default=2000, metavar="B",
                        help="replicates of the bootstrap (%(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the bootstrap (%(default)s)")
    parser.add_argument("--interval", default="percentile", choices=("percentile", "bca"),
                        help="kind of bootstrap interval (%(default)s)")
    parser.add_argument("--logistic", type=int, default=4, choices=(4, 5),
                        help="number of parameters of the logistic curve (%(default)s)")
    parser.add_argument("--refit", action="store_true",
                        help="fit the logistic curve in every replicate, for an interval of its PLCC (slow)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write CSV, JSON and figures here")
    parser.set_defaults(command=_rank)


def _rank(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.ranking import Settings, analyse
    from zsiqa.report.ranking import to_text, write
    from zsiqa.results.folder import open_folder

    settings = Settings(options.coefficient, options.replicates, options.seed, options.interval,
                        options.logistic, options.refit)
    if options.out:
        require("zsiqa rank --out", "matplotlib")
    folder = open_folder(options.scores)
    if options.out:
        make_output(options.out)
    found = analyse(folder, options.dataset, options.perturbation, options.metric, settings)
    print(to_text(found))
    if options.out:
        print("wrote", ", ".join(str(path) for path in write(found, options.out)))
    return 0

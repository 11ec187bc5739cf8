"""`zsiqa rank`: rank metrics by their agreement with human opinion, with intervals and paired tests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from zsiqa.cli.options import (
    add_outputs,
    at_least,
    examples,
    make_output,
    open_scores,
    require_scores,
    scores_option,
    touch_outputs,
    write_outputs,
)
from zsiqa.terminal import fit, width
from zsiqa.types import require


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "rank", parents=[scores_option()], help="rank metrics, with intervals and paired tests",
        description="Rank metrics by SRCC with human opinion, on every data set with scores: the best "
                    "group, intervals, ranks, and flags on numbers to read with care. With --detail or "
                    "--out: coefficients per reference and per distortion type, and tests of every pair of "
                    "metrics.",
        **examples("zsiqa rank",
                   "zsiqa rank --scores ZS-IQA/results --dataset tid2013 --detail",
                   "zsiqa rank --scores ZS-IQA/results "
                   "my.csv,metric=mine,dataset=tid2013,higher_is_better=true"))
    parser.add_argument("--dataset", action="append", metavar="NAME",
                        help="data set; may be repeated (all that have scores)")
    parser.add_argument("--perturbation", action="append", metavar="NAME",
                        help="perturbation, or `all`; may be repeated (original)")
    parser.add_argument("--metric", action="append", metavar="NAME",
                        help="metric to rank; may be repeated (all that have scores)")
    parser.add_argument("--replicates", type=at_least(100), metavar="B",
                        help="replicates of the bootstrap (1000; 2000 with --detail or --out)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the bootstrap (%(default)s)")
    parser.add_argument("--coefficient", default="srcc", choices=("plcc", "srcc", "krcc"),
                        help="coefficient to show (%(default)s), and for --detail; the intervals, ranks and "
                             "best group of the ranking are always of SRCC")
    add_outputs(parser, "a metric, data set and perturbation")
    detail = parser.add_argument_group("details of each data set")
    detail.add_argument("--detail", action="store_true", help="also show them")
    detail.add_argument("--out", type=Path, metavar="DIR", help="write them as CSV, JSON and figures here")
    detail.add_argument("--interval", default="percentile", choices=("percentile", "bca"),
                        help="kind of bootstrap interval (%(default)s)")
    detail.add_argument("--logistic", type=int, default=4, choices=(4, 5),
                        help="number of parameters of the logistic curve (%(default)s)")
    parser.set_defaults(command=_rank)


def _rank(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.ranking import rank
    from zsiqa.report.ranking import to_csv, to_markdown, to_text
    from zsiqa.results.folder import name_ignored

    if options.out:
        require("zsiqa rank --out", "matplotlib")
    folder = open_scores(options)
    require_scores(folder)
    if options.out:
        make_output(options.out)
    printed = touch_outputs(options)
    perturbations = options.perturbation or ["original"]
    found = rank(folder, options.dataset, None if "all" in perturbations else perturbations, options.metric,
                 options.replicates or 1000, options.seed)
    if not printed:
        print(fit(to_text(found, width(), options.coefficient)))
        if ignored := name_ignored(folder):
            print(fit(ignored))
    write_outputs(options, to_csv(found), to_markdown(found))
    if (options.detail and not printed) or options.out:
        _detail(options, folder, found, printed=printed)
    return 0


def _detail(options: argparse.Namespace, folder: Any, found: Any, *, printed: bool) -> None:
    """Show and write the details of each data set and perturbation; show nothing if a table was `printed`."""
    from zsiqa.evaluation.analysis import AnalysisSettings, analyse
    from zsiqa.report.analysis import to_text, write

    settings = AnalysisSettings(options.coefficient, options.replicates or 2000, options.seed,
                                options.interval, options.logistic)
    for dataset, perturbation in found.rows[["dataset", "perturbation"]].drop_duplicates().to_numpy():
        wanted = None if options.metric is None else [
            key.metric for key in folder.held()
            if (key.dataset, key.perturbation) == (dataset, perturbation) and key.metric in options.metric]
        details = analyse(folder, dataset, perturbation, wanted, settings)
        if options.detail and not printed:
            print("\n" + fit(to_text(details, width())))
        if options.out:
            written = ", ".join(str(path) for path in write(details, options.out))
            print("wrote", written, file=sys.stderr if printed else sys.stdout)

"""`zsiqa report`: write a page of a folder of scores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from zsiqa.cli.options import at_least, examples, make_output, open_scores, scores_option
from zsiqa.types import ZsiqaError, did_you_mean, require


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "report", parents=[scores_option()],
        help="write one HTML page of stored scores: tables, scatter plots, robustness, significance",
        description="Write OUT/index.html, a page that needs no network and no other files: tables, scores "
                    "against labels, correlations by distortion type and reference, robustness, "
                    "significance, the worst disagreements with their images, and the origin of the scores; "
                    "each plot can be saved as SVG. "
                    "Score files that lack pairs are named. Exit status 1 if a score file could not be read; "
                    "the page shows the rest.",
        **examples("zsiqa report", "zsiqa report --dataset tid2013 --out report",
                   "zsiqa report --root mine=/data/my_pairs.csv"))
    parser.add_argument("--out", type=Path, default=Path("results/report"), metavar="DIR",
                        help="folder to write to (%(default)s)")
    parser.add_argument("--dataset", action="append", metavar="NAME",
                        help="only this data set; may be repeated")
    parser.add_argument("--data-dir", type=Path, metavar="DIR",
                        help="folder of the data sets, for thumbnails (their place when they were scored)")
    parser.add_argument("--root", action="append", default=[], type=_root, metavar="NAME=DIR",
                        help="place of one data set: its folder, or the CSV file of your own pairs; may be "
                             "repeated")
    parser.add_argument("--replicates", type=at_least(100), default=1000, metavar="B",
                        help="resamples of the references, for intervals and tests (%(default)s)")
    parser.add_argument("--claims", default="ghildyal2025", metavar="CLAIMS",
                        help="claims of a paper to judge, as for zsiqa claims (%(default)s)")
    parser.set_defaults(command=_report)


def _root(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"expected NAME=DIR, e.g. tid2013=/data/tid2013, found {text}")
    return name, Path(path)


def _report(options: argparse.Namespace) -> int:
    require("zsiqa report", "plotly", "threadpoolctl")
    from zsiqa.cli.thumbnails import encode_thumbnail, find_images
    from zsiqa.evaluation.analysis import AnalysisSettings
    from zsiqa.report.data import collect
    from zsiqa.report.page import to_page
    from zsiqa.report.robustness_page import robustness_part

    folder = open_scores(options)
    roots = dict(options.root)
    there = {key.dataset for key in folder.held()}
    if unknown := sorted(set(roots) - there):
        raise ZsiqaError(f"--root: no scores of {', '.join(unknown)} in {folder.root}"
                         f"{did_you_mean(unknown, there)}; there are {', '.join(sorted(there)) or 'none'}")
    make_output(options.out)
    report = collect(folder, AnalysisSettings(replicates=options.replicates), options.dataset, options.claims)
    images = {one.name: find_images(one.name, folder.files, options.data_dir, roots.get(one.name))
              for one in report.datasets}
    curves = robustness_part(folder, options.replicates, options.dataset)
    page = options.out / "index.html"
    page.write_text(to_page(report, images, encode_thumbnail, curves), encoding="utf-8",
                    errors="backslashreplace")
    print(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB); open it in a browser")
    left_out = (f"{one.name} ({name}): {note}" for one in report.datasets
                for name, found in one.analyses.items()
                for note in found.notes if note.startswith("few pairs"))
    for note in dict.fromkeys([*(line for table in report.tables for line in table.partial()), *left_out]):
        print(f"note: {note}", file=sys.stderr)
    for problem in report.problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if report.problems else 0

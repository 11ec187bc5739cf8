"""`zsiqa tables`: build the paper's tables from stored scores."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zsiqa.cli.options import make_output, scores_option
from zsiqa.terminal import plural
from zsiqa.types import ZsiqaError

FORMATS = ("md", "tex", "csv", "html")


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "tables", parents=[scores_option()],
        help="build the paper's tables from stored scores, beside the printed figures",
        description="Build tables from stored scores, compare each cell with the printed figure, and name "
                    "the missing cells. Exit status 1 if a score file could not be read.")
    parser.add_argument("--table", action="append", metavar="NAME",
                        help="a file of configs/table (table1, table2, table3, extended, demo); may be "
                             "repeated (the paper's three)")
    parser.add_argument("--extended", action="store_true", help="add all metrics on all three data sets")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write files here")
    parser.add_argument("--format", default=",".join(FORMATS), metavar="F,F",
                        help="kinds of files: md, tex, csv (one line per cell), html (%(default)s)")
    parser.add_argument("--scale", default="native", metavar="S,S",
                        help="scales, one table for each, e.g. native,average_256; only native has printed "
                             "figures (%(default)s)")
    parser.add_argument("--also", default="", metavar="S,S",
                        help="more columns: plcc_per_ref, srcc_per_ref, krcc_per_ref (means over "
                             "references), plcc_mapped, rmse (after the 4-parameter logistic), between_share "
                             "(share of the variance of the scores that lies between references), plcc_low, "
                             "plcc_high, srcc_low, ... (95%% interval, 2000 resamples of the references)")
    parser.set_defaults(command=_tables)


def _tables(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.measurement import STATISTICS, Measurer
    from zsiqa.evaluation.tables import PAPER, at_scale, build_table, count_verdicts, read_specs
    from zsiqa.report.tables import to_text, write_tables
    from zsiqa.results.folder import open_folder, stored_scales

    formats = _choices("--format", options.format, FORMATS)
    if options.out and not formats:
        raise ZsiqaError(f"--format is empty; choose from {', '.join(FORMATS)}")
    also = _choices("--also", options.also, STATISTICS)
    names = options.table or ([] if options.extended else PAPER)
    measurer = Measurer(open_folder(options.scores))
    if options.out:
        make_output(options.out)
    specs = [spec for name in [*names, *(["extended"] if options.extended else [])]
             for spec in read_specs(name)]
    scales = _choices("--scale", options.scale, ["native", *stored_scales(measurer.folder)])
    tables = [build_table(spec if scale == "native" else at_scale(spec, scale), measurer, also)
              for spec in specs for scale in scales]
    for table in tables:
        print(to_text(table), end="\n\n")
    counts = count_verdicts(tables)
    if total := sum(counts.values()):
        print(f"{total} printed cells:",
              ", ".join(f"{number} {verdict}" for verdict, number in counts.items()))
    if options.out:
        print("wrote", ", ".join(str(path) for path in write_tables(tables, options.out, formats)))
    if strays := measurer.folder.strays:
        print(f"{plural(len(strays), 'file')} whose name is not the name of a metric, or without a sidecar, "
              f"e.g. {strays[0].name}; `zsiqa audit` lists them")
    problems = dict.fromkeys(problem for table in tables for problem in table.problems)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _choices(name: str, text: str, known: Sequence[str]) -> list[str]:
    """Split a comma-separated option, and check its parts."""
    parts = text.split(",") if text else []
    if unknown := [part for part in parts if part not in known]:
        raise ZsiqaError(f"{name}: unknown {', '.join(unknown)}; choose from {', '.join(known)}")
    return parts

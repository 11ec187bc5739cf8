"""`zsiqa tables`: build the paper's tables from stored scores."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zsiqa.cli.options import examples, make_output, open_scores, require_scores, scores_option
from zsiqa.terminal import fit, width
from zsiqa.types import ZsiqaError, did_you_mean

FORMATS = ("md", "tex", "csv", "html")


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "tables", parents=[scores_option()],
        help="tables of stored scores; the paper's beside the printed figures",
        description="Build tables from stored scores: the paper's tables, as far as there are scores, and a "
                    "table of all other scores for each data set, your own sets too. Compare each cell with "
                    "the printed figure, and name the missing cells. Exit status 1 if a score file could not "
                    "be read.",
        **examples("zsiqa tables", "zsiqa tables --table table2 --also srcc_low,srcc_high",
                   "zsiqa tables --scores results/scores --out tables --format md,csv"))
    parser.add_argument("--table", action="append", metavar="NAME",
                        help="a table of the configuration (table1, table2, table3, liao2024, extended, "
                             "demo), also without scores; may be repeated (all that is stored)")
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
    from zsiqa.evaluation.stored_levels import WithoutCurves
    from zsiqa.evaluation.table_specs import at_scale, choose_specs, read_specs
    from zsiqa.evaluation.tables import Table, build_table, count_verdicts
    from zsiqa.report.tables import write_tables
    from zsiqa.report.text_tables import text_legend, to_text
    from zsiqa.results.folder import name_ignored, stored_scales

    formats = _choices("--format", options.format, FORMATS)
    if options.out and not formats:
        raise ZsiqaError(f"--format is empty; choose from {', '.join(FORMATS)}")
    also = _choices("--also", options.also, STATISTICS)
    names = [*(options.table or []), *(["extended"] if options.extended else [])]
    measurer = Measurer(open_scores(options))
    specs, left_out = ([spec for name in names for spec in read_specs(name)], []) if names else (
        choose_specs(WithoutCurves(measurer.folder).held()))
    if not specs:
        require_scores(WithoutCurves(measurer.folder))
    if options.out:
        make_output(options.out)
    scales = _choices("--scale", options.scale, ["native", *stored_scales(measurer.folder)])
    tables = [build_table(spec if scale == "native" else at_scale(spec, scale), measurer, also)
              for spec in specs for scale in scales]
    for table in tables:
        print(fit(to_text(table, width()), "--out DIR writes all"), end="\n\n")
    if legend := text_legend(tables):
        print(fit(legend))
    counts = count_verdicts(tables)
    if total := sum(counts.values()):
        listed = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        compared = "compared" if any(table.figures != Table.figures for table in tables) else "printed"
        print(fit(f"{total} {compared} cells: {listed}"))
    if options.out:
        print("wrote", ", ".join(str(path) for path in write_tables(tables, options.out, formats)))
    if left_out:
        print(fit(f"no scores for {', '.join(left_out)}; `zsiqa tables --table {left_out[0]}` lists what it "
                  f"needs"))
    if ignored := name_ignored(measurer.folder):
        print(fit(ignored))
    problems = dict.fromkeys(problem for table in tables for problem in table.problems)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _choices(name: str, text: str, known: Sequence[str]) -> list[str]:
    """Split a comma-separated option, and check its parts."""
    parts = text.split(",") if text else []
    if unknown := [part for part in parts if part not in known]:
        raise ZsiqaError(f"{name}: unknown {', '.join(unknown)}{did_you_mean(unknown, known)}; "
                         f"choose from {', '.join(known)}")
    return parts

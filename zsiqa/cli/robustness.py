"""`zsiqa robustness`: curves of metrics against the level of a geometric change, beside human thresholds."""

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
    positive,
    scores_option,
    touch_output,
    touch_outputs,
    write_outputs,
)
from zsiqa.terminal import fit, width
from zsiqa.types import require


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "robustness", parents=[scores_option()],
        help="curves against the level of a shift, enlargement or rotation, beside human thresholds",
        description="Measure each metric from no change to visible changes: SRCC with human opinion against "
                    "the level, the response of undistorted references in units of real distortions, and a "
                    "ranking by the worst curve up to the human threshold. With scores of RAID: the curves "
                    "beside people's. Needs scores at levels (zsiqa run ... perturbation=curves).",
        **examples("zsiqa run dataset=demo baseline=psnr perturbation=curves",
                   "zsiqa robustness --figures figures",
                   "zsiqa robustness --dataset tid2013 --pixels-per-degree 60 --csv points.csv"))
    parser.add_argument("--dataset", action="append", metavar="NAME",
                        help="data set; may be repeated (all that have curves)")
    parser.add_argument("--metric", action="append", metavar="NAME",
                        help="metric; may be repeated (all that have curves)")
    parser.add_argument("--pixels-per-degree", type=positive, metavar="P",
                        help="pixels of an image in a degree of visual angle, to convert thresholds (29.2, "
                             "from the source of the thresholds)")
    parser.add_argument("--thresholds", type=Path, metavar="FILE",
                        help="YAML file of human thresholds (configs/human_thresholds.yaml)")
    parser.add_argument("--replicates", type=at_least(100), default=1000, metavar="B",
                        help="replicates of the bootstrap (%(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the bootstrap (%(default)s)")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write figures here, as PDF and SVG")
    add_outputs(parser, "a point of a curve, and one a family of RAID")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.set_defaults(command=_robustness)


def _robustness(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.human_thresholds import FILE, read_thresholds
    from zsiqa.evaluation.robustness import RobustnessSettings, measure_robustness
    from zsiqa.report.robustness import to_csv, to_json, to_markdown, to_text

    if options.figures:
        require("zsiqa robustness --figures", "matplotlib")
    thresholds, assumed = read_thresholds(options.thresholds or FILE)
    settings = RobustnessSettings(thresholds, options.pixels_per_degree or assumed, options.replicates,
                                  options.seed)
    folder = open_scores(options)
    if options.figures:
        make_output(options.figures, "--figures")
    printed = touch_outputs(options)
    if options.json:
        touch_output("--json", options.json)
    found = measure_robustness(folder, settings, options.dataset, options.metric)
    if not printed:
        print(fit(to_text(found, width())))
    write_outputs(options, to_csv(found), to_markdown(found))
    if options.json:
        options.json.write_text(to_json(found), encoding="utf-8", errors="backslashreplace")
    if options.figures:
        from zsiqa.report.figures import write_figures

        written = write_figures(found, options.figures)
        print(f"wrote {', '.join(map(str, written)) or 'no figure'}",
              file=sys.stderr if printed else sys.stdout)
    return 0

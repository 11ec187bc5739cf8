"""`zsiqa audit`: check scores against the paper's tables or the authors' per-image scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zsiqa.cli.options import at_least, examples, open_scores, require_scores, scores_option, touch_output
from zsiqa.terminal import fit
from zsiqa.types import ZsiqaError


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "audit", parents=[scores_option()],
        help="judge every printed cell, or compare with the authors' scores",
        description="Judge every printed cell, and search for damaged files, identical images, metrics that "
                    "were not deterministic, and wrong signs; exit status 1 if a cell drifts for no known "
                    "reason. With --official: compare our scores with the authors' scores, pair by pair; "
                    "exit status 1 if a pair diverges, or has no score of ours.",
        **examples("zsiqa audit", "zsiqa audit --json audit.json",
                   "zsiqa audit --official CLONE/results --dataset tid2013"))
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the findings here as JSON ('-': print them)")
    parser.add_argument("--official", type=Path, metavar="DIR",
                        help="compare with the scores in this folder: `results` of a clone of the official "
                             "repository")
    parser.add_argument("--dataset", action="append", metavar="NAME",
                        help="with --official: only this data set; may be repeated")
    parser.add_argument("--metric", action="append", metavar="NAME",
                        help="with --official: only this metric; may be repeated")
    parser.add_argument("--rtol", type=at_least(0.0), metavar="X",
                        help="with --official: a pair diverges if the difference exceeds this share of the "
                             "authors' largest score of the file (0.001)")
    parser.set_defaults(command=_audit)


def _audit(options: argparse.Namespace) -> int:
    if options.official is not None:
        if options.json is not None:
            raise ZsiqaError("--json is for an audit without --official; use only one of the two")
        return _compare(options)
    if unused := [name for name in ("dataset", "metric", "rtol") if getattr(options, name) is not None]:
        raise ZsiqaError(f"--{unused[0]} needs --official DIR; without it, an audit uses all scores")
    return _judge(options)


def _judge(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.audit import audit
    from zsiqa.evaluation.measurement import Measurer
    from zsiqa.report.audit import to_json, to_text

    to_file = options.json is not None and str(options.json) != "-"
    if to_file:
        touch_output("--json", options.json)
    folder = open_scores(options)
    require_scores(folder)
    found = audit(Measurer(folder))
    if options.json is None or to_file:
        print(fit(to_text(found), "--json FILE has all"))
    else:
        print(to_json(found), end="")
    if to_file:
        options.json.write_text(to_json(found), encoding="utf-8")
    return 1 if found.counts["drift"] or any(one.damaged for one in found.file_findings) else 0


def _compare(options: argparse.Namespace) -> int:
    from zsiqa.evaluation.agreement import RTOL, verify
    from zsiqa.report.agreement import to_text
    from zsiqa.results.folder import open_folder

    found = verify(open_scores(options), open_folder(options.official), options.dataset,
                   options.metric, RTOL if options.rtol is None else options.rtol)
    print(fit(to_text(found)))
    return 0 if found.agree else 1

"""`zsiqa audit`: what agrees with the paper, what does not, and why."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zsiqa.cli.options import scores_option, touch_output


def add_parser(commands: Any) -> None:
    """Add the command to those of `zsiqa`."""
    parser = commands.add_parser(
        "audit", parents=[scores_option()], help="what agrees with the paper, what does not, and why",
        description="Judge every printed cell, and look for damaged files, duplicate images, methods that were not "
                    "deterministic, and wrong signs. Exit status 1 if a cell drifts unexplained.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings here as JSON ('-': print them)")
    parser.set_defaults(command=_audit)


def _audit(options: argparse.Namespace) -> int:
    import json

    from zsiqa.evaluation.audit import audit
    from zsiqa.evaluation.measurement import Measurer
    from zsiqa.report.audit import to_json, to_text
    from zsiqa.results.folder import open_folder

    to_file = options.json is not None and str(options.json) != "-"
    if to_file:
        touch_output("--json", options.json)
    measurer = Measurer(open_folder(options.scores))
    found = audit(measurer)
    as_json = json.dumps(to_json(found), indent=2, ensure_ascii=False, allow_nan=False)
    print(to_text(found) if options.json is None or to_file else as_json)
    if to_file:
        options.json.write_text(as_json + "\n", encoding="utf-8")
    return 1 if found.counts["drift"] else 0

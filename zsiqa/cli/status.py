"""`zsiqa status`: how far the score files of a sweep are."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from zsiqa.terminal import plural

if TYPE_CHECKING:
    from zsiqa.runs.progress import Cell


def add_parser(commands: Any) -> None:
    """Add the command to those of `zsiqa`."""
    parser = commands.add_parser(
        "status", help="how far a sweep is: done, running, failed, partial, missing",
        description="How far the score files of `python run.py -m ARGUMENTS` are. done: every pair has a score. "
                    "running: a run has given a sign of life within two minutes, and, on this machine, its process is "
                    "there. failed: the last run gave up; why. partial, missing: the rest; of one that was killed, "
                    "which. Exit status 1 unless all are done.")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT",
                        help="as for run.py: +sweep=table3, backbone=dinov1,dinov2 dataset=pipal, results_dir=DIR")
    parser.add_argument("-m", "--multirun", action="store_true",
                        help="of no effect: the arguments of run.py may be given as they are")
    parser.add_argument("--json", action="store_true", help="every score file as JSON")
    parser.set_defaults(command=_status)


def _status(options: argparse.Namespace) -> int:
    from zsiqa.runs.sweep import cells, expand

    jobs = [(job, cells(job)) for job in expand(options.arguments)]
    found = [cell for _, mine in jobs for cell in mine]
    print(_to_json(jobs) if options.json else _to_text(jobs))
    return 0 if all(cell.done for cell in found) else 1


def _to_json(jobs: list[tuple[list[str], list[Cell]]]) -> str:
    import json

    return json.dumps([{"job": job, **cell.key._asdict(), "state": cell.state, "there": cell.there,
                        "pairs": cell.pairs, "why": cell.why} for job, mine in jobs for cell in mine], indent=2)


def _to_text(jobs: list[tuple[list[str], list[Cell]]]) -> str:
    """A job is a paragraph, with a line for the files that are equally far."""
    from zsiqa.runs.progress import STATES

    lines = []
    for number, (job, mine) in enumerate(jobs):
        lines.append(f"job {number}: {' '.join(job) or '(the default)'}")
        alike: dict[tuple[str, str, str], dict[str, list[str]]] = {}
        for cell in mine:
            amount = f"{cell.there:,} of {'?' if cell.pairs is None else format(cell.pairs, ',')} pairs"
            group = alike.setdefault((cell.state, amount if cell.there or cell.pairs else "", cell.why), {})
            group.setdefault(cell.key.metric, []).append(cell.key.perturbation)
        for (state, amount, why), metrics in alike.items():
            files = sum(map(len, metrics.values()))
            lines.append(f"  {state:7}  {files:3} file{'s' * (files > 1)}{f', {amount}' * bool(amount)}"
                         f"{f': {why}' * bool(why)}")
            if len(alike) > 1 and state != "done":
                lines += [f"             {metric}: {', '.join(names)}" for metric, names in metrics.items()]
    counts = Counter(cell.state for _, mine in jobs for cell in mine)
    total = f"{plural(len(jobs), 'job')}, {plural(counts.total(), 'score file')}: "
    return "\n".join([*lines, total + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])])

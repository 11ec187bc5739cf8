"""Command `zsiqa status`: progress of the score files of a sweep."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from zsiqa.cli.options import examples
from zsiqa.terminal import plural

if TYPE_CHECKING:
    from zsiqa.runs.progress import FileProgress


def add_parser(commands: Any) -> None:
    """Add the command to the commands of `zsiqa`."""
    parser = commands.add_parser(
        "status", help="progress of a sweep: done, running, failed, partial, missing",
        description="Progress of the score files of `python run.py -m ARGUMENTS`. done: every pair has a "
                    "score. running: a run is active (heartbeat within two minutes; on this machine, its "
                    "process exists). failed: the last run stopped with the error shown. partial, missing: "
                    "the other files; if a run was killed, it is named. Exit status 1 unless all are done.",
        **examples("zsiqa status +sweep=table3", "zsiqa status backbone=dinov1 distance=wsd dataset=tid2013",
                   "zsiqa status backbone=dinov1,dinov2 dataset=pipal results_dir=/data/results --json"))
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT",
                        help="as for run.py: +sweep=table3, backbone=dinov1,dinov2 dataset=pipal, "
                             "results_dir=DIR")
    parser.add_argument("-m", "--multirun", action="store_true",
                        help="no effect; accepted so that you can copy the arguments of run.py")
    parser.add_argument("--json", action="store_true", help="print every score file as JSON")
    parser.set_defaults(command=_status)


def _status(options: argparse.Namespace) -> int:
    from zsiqa.runs.sweep import expand, progress_of

    jobs = [(job, progress_of(job)) for job in expand(options.arguments)]
    print(_to_json(jobs) if options.json else _to_text(jobs))
    return 0 if all(file.done for _, files in jobs for file in files) else 1


def _to_json(jobs: list[tuple[list[str], list[FileProgress]]]) -> str:
    import json

    return json.dumps([{"job": job, **file.key._asdict(), "state": file.state, "there": file.there,
                        "pairs": file.pairs, "why": file.why}
                       for job, files in jobs for file in files], indent=2)


def _to_text(jobs: list[tuple[list[str], list[FileProgress]]]) -> str:
    """Return a paragraph for each job, with one line for all its files in the same state."""
    from zsiqa.runs.progress import STATES

    lines = []
    for number, (job, files) in enumerate(jobs):
        lines.append(f"job {number}: {' '.join(job) or '(the default)'}")
        alike: dict[tuple[str, str, str], dict[str, list[str]]] = {}
        for file in files:
            amount = f"{file.there:,} of {'?' if file.pairs is None else format(file.pairs, ',')} pairs"
            group = alike.setdefault((file.state, amount if file.there or file.pairs else "", file.why), {})
            group.setdefault(file.key.metric, []).append(file.key.perturbation)
        for (state, amount, why), metrics in alike.items():
            count = sum(map(len, metrics.values()))
            line = f"  {state:7}  {count:3} {'files' if count > 1 else 'file'}"
            if amount:
                line += f", {amount}"
            if why:
                line += f": {why}"
            lines.append(line)
            if len(alike) > 1 and state != "done":
                lines += [f"             {metric}: {', '.join(names)}" for metric, names in metrics.items()]
    counts = Counter(file.state for _, files in jobs for file in files)
    total = f"{plural(len(jobs), 'job')}, {plural(counts.total(), 'score file')}: "
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return "\n".join([*lines, total + states])

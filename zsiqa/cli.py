"""The `zsiqa` command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zsiqa import (
    __version__,
    completion_command,
    data_command,
    merge_command,
    report_command,
    run_command,
    score_command,
    status_command,
    weights_command,
)
from zsiqa.console import at_least, make_output, reader_may_leave
from zsiqa.types import ZsiqaError
from zsiqa.wording import count

if TYPE_CHECKING:
    from zsiqa.measurement import Measurer

FORMATS = ("md", "tex", "csv", "html")


@reader_may_leave()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (ZsiqaError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zsiqa", description="Score distorted images against their references with frozen foundation models, and "
                                  "see how well the scores agree with people.",
        epilog="zsiqa COMMAND --help says more.")
    parser.add_argument("--version", action="version", version=f"zsiqa {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    score_command.add_parser(commands)
    run_command.add_parser(commands)
    status_command.add_parser(commands)
    merge_command.add_parser(commands)
    data_command.add_parser(commands)
    weights_command.add_parser(commands)
    scores = argparse.ArgumentParser(add_help=False)
    scores.add_argument("--scores", type=Path, default=Path("results/scores"), metavar="DIR",
                        help="our own store, or the folder `results` of the official repository (%(default)s)")
    cache = argparse.ArgumentParser(add_help=False)
    cache.add_argument("--no-cache", action="store_true", help="measure everything anew")

    tables = commands.add_parser(
        "tables", parents=[scores, cache], help="the paper's tables from stored scores, beside the printed figures",
        description="Build tables from stored scores, compare each cell with the printed figure, and name what is "
                    "missing. Exit status 1 if a score file could not be read.")
    tables.add_argument("--table", action="append", metavar="NAME",
                        help="a file of configs/table (table1, table2, table3, extended, demo); may be repeated "
                             "(the paper's three)")
    tables.add_argument("--extended", action="store_true", help="all metrics on all three data sets")
    tables.add_argument("--out", type=Path, metavar="DIR", help="write files here, too")
    tables.add_argument("--format", default=",".join(FORMATS), metavar="F,F",
                        help="which files: md, tex, csv (every cell, one a line), html (%(default)s)")
    tables.add_argument("--also", default="", metavar="S,S",
                        help="more columns: plcc_per_ref, srcc_per_ref, krcc_per_ref (means over references), "
                             "plcc_mapped, rmse (after the 4-parameter logistic), between_share (of the variance of "
                             "the scores, between references), plcc_low, plcc_high, srcc_low, "
                             "... (95%% interval, 2000 resamples of the references)")
    tables.set_defaults(command=_tables)

    audit = commands.add_parser(
        "audit", parents=[scores, cache], help="what agrees with the paper, what does not, and why",
        description="Judge every printed cell, and look for damaged files, duplicate images, methods that were not "
                    "deterministic, and wrong signs. Exit status 1 if a cell drifts unexplained.")
    audit.add_argument("--json", type=Path, metavar="FILE", help="write the findings here as JSON ('-': print them)")
    audit.set_defaults(command=_audit)

    verify = commands.add_parser(
        "verify", parents=[scores], help="our per-image scores against the authors'",
        description="Compare our scores with the authors', pair by pair. Exit status 1 if a pair diverges, or has no "
                    "score of ours.")
    verify.add_argument("--official", type=Path, required=True, metavar="DIR",
                        help="folder `results` of a clone of the official repository")
    verify.add_argument("--dataset", action="append", metavar="NAME", help="only this data set; may be repeated")
    verify.add_argument("--metric", action="append", metavar="NAME", help="only this metric; may be repeated")
    verify.add_argument("--rtol", type=at_least(0.0), default=1e-3, metavar="X",
                        help="a pair diverges when the difference exceeds this share of the authors' largest score "
                             "of the file (%(default)s)")
    verify.set_defaults(command=_verify)

    stats = commands.add_parser(
        "stats", parents=[scores], help="intervals, paired tests, per reference, per distortion",
        description="Statistics beside the paper's pooled coefficients, for one data set and perturbation.")
    stats.add_argument("--dataset", required=True, metavar="NAME", help="live, tid2013, pipal, or one of your own")
    stats.add_argument("--perturbation", default="original", metavar="NAME", help="(%(default)s)")
    stats.add_argument("--metric", action="append", metavar="NAME", help="may be repeated (all that are there)")
    stats.add_argument("--coefficient", default="srcc", choices=("plcc", "srcc", "krcc"),
                       help="of comparisons and distortion types (%(default)s)")
    stats.add_argument("--replicates", type=at_least(100), default=2000, metavar="B",
                       help="of the bootstrap (%(default)s)")
    stats.add_argument("--seed", type=at_least(0), default=0, help="of the bootstrap (%(default)s)")
    stats.add_argument("--interval", default="percentile", choices=("percentile", "bca"), help="(%(default)s)")
    stats.add_argument("--logistic", type=int, default=4, choices=(4, 5), help="parameters (%(default)s)")
    stats.add_argument("--refit", action="store_true",
                       help="fit the logistic curve in every replicate, for an interval of its PLCC (slow)")
    stats.add_argument("--out", type=Path, metavar="DIR", help="write CSV, JSON and pictures here, too")
    stats.set_defaults(command=_stats)
    report_command.add_parser(commands)
    completion_command.add_parser(commands, parser)
    return parser


def _tables(options: argparse.Namespace) -> int:
    from zsiqa.measurement import STATISTICS
    from zsiqa.rendering import to_text, write_tables
    from zsiqa.tables import PAPER, build_table, count_verdicts, read_specs

    formats = _choices("--format", options.format, FORMATS)
    if options.out and not formats:
        raise ZsiqaError(f"--format is empty; choose from {', '.join(FORMATS)}")
    also = _choices("--also", options.also, STATISTICS)
    names = options.table or ([] if options.extended else PAPER)
    measurer = _measurer(options)
    if options.out:
        make_output(options.out)
    specs = [spec for name in [*names, *(["extended"] if options.extended else [])] for spec in read_specs(name)]
    try:
        tables = [build_table(spec, measurer, also) for spec in specs]
    finally:
        measurer.remember()
    for table in tables:
        print(to_text(table), end="\n\n")
    counts = count_verdicts(tables)
    if total := sum(counts.values()):
        print(f"{total} printed cells:", ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if options.out:
        print("wrote", ", ".join(str(path) for path in write_tables(tables, options.out, formats)))
    if strays := measurer.folder.strays:
        print(f"{count(len(strays), 'file')} with the name of no metric, or without a sidecar, e.g. {strays[0].name}; "
              f"`zsiqa audit` says more")
    if begun := len({(part.parent, part.name.split(".")[0]) for part in options.scores.glob("*/*/*.part")}):
        print(f"{count(begun, 'score file')} in parts: `zsiqa merge --scores {options.scores}` joins those that are "
              f"whole, and says what the others lack")
    problems = dict.fromkeys(problem for table in tables for problem in table.problems)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _audit(options: argparse.Namespace) -> int:
    import json

    from zsiqa.audit import audit
    from zsiqa.audit_report import to_json, to_text

    to_file = options.json is not None and str(options.json) != "-"
    if to_file:  # before the work, so that it is not lost to a place that cannot be written
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.touch()
    measurer = _measurer(options)
    found = audit(measurer)
    measurer.remember()
    as_json = json.dumps(to_json(found), indent=2, ensure_ascii=False, allow_nan=False)
    print(to_text(found) if options.json is None or to_file else as_json)
    if to_file:
        options.json.write_text(as_json + "\n", encoding="utf-8")
    return 1 if found.counts["drift"] else 0


def _verify(options: argparse.Namespace) -> int:
    from zsiqa.folder import open_folder
    from zsiqa.verification import to_text, verify

    found = verify(open_folder(options.scores), open_folder(options.official), options.dataset, options.metric,
                   options.rtol)
    print(to_text(found))
    return 0 if found.agree else 1


def _stats(options: argparse.Namespace) -> int:
    from zsiqa.analysis import Settings, analyse
    from zsiqa.analysis_report import to_text, write
    from zsiqa.folder import open_folder

    settings = Settings(options.coefficient, options.replicates, options.seed, options.interval, options.logistic,
                        options.refit)
    folder = open_folder(options.scores)
    if options.out:
        make_output(options.out)
    found = analyse(folder, options.dataset, options.perturbation, options.metric, settings)
    print(to_text(found))
    if options.out:
        print("wrote", ", ".join(str(path) for path in write(found, options.out)))
    return 0


def _measurer(options: argparse.Namespace) -> Measurer:
    from zsiqa.folder import open_folder
    from zsiqa.measurement import Measurer, default_memory

    return Measurer(open_folder(options.scores), None if options.no_cache else default_memory())


def _choices(name: str, text: str, known: Sequence[str]) -> list[str]:
    """The parts of a comma-separated option."""
    parts = text.split(",") if text else []
    if unknown := [part for part in parts if part not in known]:
        raise ZsiqaError(f"{name}: unknown {', '.join(unknown)}; choose from {', '.join(known)}")
    return parts


if __name__ == "__main__":
    sys.exit(main())

"""`zsiqa data list|check|manifest`: list, check and export the published data sets on this disk."""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import io
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsiqa import __version__
from zsiqa.cli.options import examples, show_help_alone
from zsiqa.terminal import aligned, escape, listed, plural
from zsiqa.types import DatasetError, Manifest, did_you_mean

if TYPE_CHECKING:
    from zsiqa.datasets.inspection import Header

COLUMNS = ("row", "dataset", "pair_id", "ref_id", "ref", "dis", "mos", "native_mos", "mos_std",
           "higher_is_better", "type", "type_name", "level", "subsets", "ref_path", "dis_path", "width",
           "height")
SCHEMA = 1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to argparse's `commands`."""
    data = commands.add_parser("data", help="list, check and export the published data sets on this disk",
                               description="The published data sets. `check` says where to get one that "
                                           "is not here.",
                               **examples("zsiqa data list", "zsiqa data check tid2013 --images",
                                          "zsiqa data manifest pipal --out pipal.csv"))
    actions = show_help_alone(data).add_subparsers(metavar="ACTION")
    listing = actions.add_parser(
        "list", help="list the known sets, their expected folders, and what was found",
        description="List the known sets, their expected folders, and whether their labels were found.",
        **examples("zsiqa data list", "ZSIQA_TID2013=/data/tid2013 zsiqa data list"))
    listing.set_defaults(command=_list)

    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("name", metavar="NAME", help="live, tid2013, pipal, kadid10k, csiq, raid")
    shared.add_argument("--root", type=Path, metavar="DIR",
                        help="folder of the data set ($ZSIQA_<NAME>, else datasets/<name>)")
    shared.add_argument("--strict", action="store_true",
                        help="report labels that differ from the release as an error")
    check = actions.add_parser(
        "check", parents=[shared], help="check that a set is complete and equal to its release",
        description="Compare a data set with its release: files, counts, labels, sizes of images. Exit "
                    "status 1 if something is wrong; labels that differ from the release are a warning, "
                    "unless --strict.",
        **examples("zsiqa data check tid2013", "zsiqa data check pipal --root /data/pipal --images"))
    check.add_argument("--images", action="store_true", help="decode every image")
    check.add_argument("--hash", action="store_true",
                       help="decode every image, and find those with equal pixels")
    check.set_defaults(command=_check)

    manifest = actions.add_parser(
        "manifest", parents=[shared], help="write all pairs as one table",
        description="Write all pairs with their labels as CSV, and a JSON file with their origin beside it.",
        **examples("zsiqa data manifest tid2013", "zsiqa data manifest pipal --out pipal.csv"))
    manifest.add_argument("--out", type=Path, metavar="FILE.csv",
                          help="file to write (without --out: the CSV is printed, without JSON)")
    manifest.set_defaults(command=_manifest)


def _list(_options: argparse.Namespace) -> int:
    from zsiqa.releases import published

    rows = [("set", "pairs", "labels", "expected in", "found")]
    for name, facts in published().items():
        root = _root(name)
        try:
            found = "labels, but not the release's" if _read(name, root).warnings else "labels as released"
        except DatasetError as error:
            found = "no" if not root.is_dir() else str(error).partition(". Fix:")[0]
        by = f" (${_variable(name)})" if _variable(name) in os.environ else ""
        rows.append((name, f"{facts['pairs']:,}",
                     "higher = better" if facts["higher_is_better"] else "higher = worse",
                     f"{root.absolute()}{by}", found))
    print(*aligned(rows), sep="\n")
    print("\nIf a set is elsewhere: set ZSIQA_LIVE=DIR and so on, or give dataset.root=DIR to run.py, "
          "--root DIR here. `zsiqa data check NAME` says where to get a set")
    return 0


def _check(options: argparse.Namespace) -> int:
    from zsiqa.datasets.inspection import (
        check_headers,
        decode,
        describe_headers,
        image_files,
        missing,
        read_headers,
    )
    from zsiqa.datasets.release import names_of

    facts, root = _facts(options.name), options.root or _root(options.name)
    found = _read(options.name, root)
    types = {pair.type for pair in found.pairs}
    print(f"{facts['label']} in {root}")
    print(f"  labels   {len(found.pairs):,} pairs, {facts['references']} references, "
          f"{len(types)} distortion types; {names_of(found.label_files)}, {found.layout}")
    print(f"  digest   {'differs from' if found.warnings else 'equals'} that of the release"
          f"{' (names only)' if 'names_sha256' in facts else ''}")
    files = image_files(found.pairs)
    there = [path for path in files if path.is_file()]
    headers = read_headers(there)
    problems = [*missing(found, facts), *check_headers(found, headers, facts)]
    print(f"  images   {len(there):,} of {len(files):,}")
    print(f"  sizes    {describe_headers(headers) or 'none'}")
    if options.images or options.hash:
        readable = [path for path in there if not headers[path].error]
        errors, same = decode(readable)
        print(f"  decoded  {sum(map(len, same.values())):,}")
        problems += errors
    if options.hash:
        groups = sorted(paths for paths in same.values() if len(paths) > 1)
        print(f"  equal    {plural(sum(map(len, groups)))} with the pixels of another one"
              f"{''.join(f', e.g. {paths[0].name} = {paths[1].name}' for paths in groups[:1])}")
    if found.unnamed:
        names = listed([escape(path.name) for path in sorted(found.unnamed)], 3)
        print(f"  others   {plural(len(found.unnamed))} that no label names, left out, e.g. {names}")
    sys.stdout.flush()
    for warning in found.warnings:
        print(f"{'error' if options.strict else 'warning'}: {escape(warning)}", file=sys.stderr)
    for problem in problems:
        print(f"error: [{options.name}] {escape(problem)}", file=sys.stderr)
    failed = bool(problems or (options.strict and found.warnings))
    print("not complete and as released: see the errors" if failed else "complete" if found.warnings
          else "complete and as released")
    return 1 if failed else 0


def _manifest(options: argparse.Namespace) -> int:
    from zsiqa.datasets.inspection import check_headers, image_files, missing, read_headers

    if options.out and options.out.suffix != ".csv":
        raise DatasetError(f"--out {options.out}: expected a name that ends in .csv; "
                           f"the JSON file is written beside it")
    facts, root = _facts(options.name), options.root or _root(options.name)
    found = _read(options.name, root)
    if options.strict and found.warnings:
        raise DatasetError(found.warnings[0])
    if problems := missing(found, facts):
        raise DatasetError(f"[{options.name}] {problems[0]}")
    headers = read_headers(image_files(found.pairs))
    text = to_csv(found, root, headers, facts)
    for note in (*found.warnings,
                 *(f"[{options.name}] {problem}" for problem in check_headers(found, headers, facts))):
        print(f"warning: {note}", file=sys.stderr)
    if not options.out:
        print(text, end="")
        return 0
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8", newline="")
    beside = options.out.with_suffix(".json")
    beside.write_text(json.dumps(provenance(found, root, facts), indent=2, ensure_ascii=False) + "\n",
                      encoding="utf-8")
    print(f"wrote {options.out}, {beside}")
    return 0


def to_csv(manifest: Manifest, root: Path, headers: Mapping[Path, Header], facts: Mapping[str, Any]) -> str:
    """Write the pairs as CSV: a header line, then one line per pair, separated by LF.

    Floats read back exactly, paths are relative to `root`, unknown values are empty. `subsets` are separated
    by "|". `width` and `height` are those of the distorted image.
    """
    from zsiqa.releases import ref_id

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    base = root.expanduser()
    for row, pair in enumerate(manifest.pairs):
        header = headers[pair.dis_path]
        writer.writerow([
            row, facts["name"], pair.pair_id, ref_id(pair.ref, facts), pair.ref, pair.dis, repr(pair.mos),
            repr(pair.native_mos), "" if math.isnan(pair.mos_std) else repr(pair.mos_std),
            facts["higher_is_better"], pair.type, facts["types"].get(pair.type, ""), pair.level,
            "|".join(pair.subsets),
            *(path.relative_to(base).as_posix() for path in (pair.ref_path, pair.dis_path)),
            *(("", "") if header.error else (header.width, header.height))])
    return text.getvalue()


def provenance(manifest: Manifest, root: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the origin of a manifest, for the JSON file beside it."""
    from zsiqa.datasets.release import digest_of

    digest, released = digest_of(manifest.pairs, facts)
    return {"schema": SCHEMA, "dataset": facts["name"], "pairs": len(manifest.pairs),
            "root": str(root.absolute()), "layout": manifest.layout,
            "higher_is_better": facts["higher_is_better"],
            "label_files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                            for path in manifest.label_files},
            "labels_sha256": digest, "released_sha256": released,
            "notes": list(manifest.warnings), "zsiqa": __version__}


def _facts(name: str) -> Mapping[str, Any]:
    from zsiqa.releases import published

    if name not in published():
        raise DatasetError(f"unknown data set {name}{did_you_mean(name, published())}; there are "
                           f"{', '.join(published())}")
    return published()[name]


def _read(name: str, root: Path) -> Manifest:
    """Read a data set with the module of its name in `zsiqa.datasets`."""
    found: Manifest = importlib.import_module(f"zsiqa.datasets.{name}").read(root)
    return found


def _root(name: str) -> Path:
    """Expected folder of a data set; the same as for run.py (configs/dataset)."""
    return Path(os.environ.get(_variable(name)) or Path("datasets") / name)


def _variable(name: str) -> str:
    return f"ZSIQA_{name.upper()}"

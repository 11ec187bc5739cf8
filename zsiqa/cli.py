"""The `zsiqa` command: everything that needs no model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zsiqa.types import ZsiqaError

TABLES = Path(__file__).parent.parent / "configs" / "table"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="zsiqa", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tables = commands.add_parser("tables", help="print a table from the stored scores",
                                 description="Print a table from the stored scores, and name the missing cells.")
    tables.add_argument("--scores", type=Path, default=Path("results/scores"),
                        help="folder of score files (%(default)s)")
    tables.add_argument("--table", default="demo", choices=sorted(file.stem for file in TABLES.glob("*.yaml")),
                        help="which table (%(default)s)")
    tables.set_defaults(command=_tables)
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except ZsiqaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _tables(options: argparse.Namespace) -> int:
    import yaml  # late, like pandas: help must answer at once

    from zsiqa.tables import build_table

    spec = yaml.safe_load((TABLES / f"{options.table}.yaml").read_text(encoding="utf-8"))
    print(build_table(spec, options.scores).to_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())

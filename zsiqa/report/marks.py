"""Marks of the rows and values of a table. What all have is stated once, below the table."""

from __future__ import annotations

from zsiqa.evaluation.tables import Row, Table
from zsiqa.evaluation.verdicts import PARTIAL
from zsiqa.releases import UNKNOWN
from zsiqa.report.ranking import FLAGS

# Marks of rows that are not, or perhaps not, as the metric's authors make them; as in `zsiqa rank`.
_FLAGS = {"no": FLAGS["unlike its authors"], UNKNOWN: FLAGS["authors' use unknown"]}
_USE = {answer: f"({letter})" for answer, (letter, _) in _FLAGS.items()}
USE_MEANS = {_USE[answer]: meaning for answer, (_, meaning) in _FLAGS.items()}


def use_mark(row: Row) -> str:
    """Return the mark of a row in `USE_MEANS`, or ""."""
    return _USE.get(row.use["as_authors"], "")


def shared_marks(table: Table) -> set[str]:
    """Return the marks that all rows, or all values, of a table of several rows have."""
    shared = {PARTIAL} if table.all_partial else set()
    uses = {use_mark(row) for row in table.rows}
    if len(table.rows) > 1 and len(uses) == 1:
        shared |= uses - {""}
    return shared


def unless(shared: set[str], mark: str) -> str:
    """Return the mark, or "" if all have it."""
    return "" if mark in shared else mark


def named(row: Row, shared: set[str]) -> str:
    """Return the name of a row with its mark, if any, unless all rows have it."""
    return f"{row.name} {unless(shared, use_mark(row))}".rstrip()

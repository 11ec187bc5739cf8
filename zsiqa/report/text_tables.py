"""Write tables as text for a terminal.

A figure in brackets is the paper's, where the value does not agree with it. `p` marks a value that uses
only some of the pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from zsiqa.evaluation.tables import Table
from zsiqa.evaluation.verdicts import PARTIAL, Cell
from zsiqa.report.marks import USE_MEANS, named, shared_marks, unless, use_mark
from zsiqa.report.tables import differs, remarks, spans_of
from zsiqa.terminal import aligned


def to_text(table: Table, width: int = 10_000) -> str:
    """Write a table for a terminal: aligned columns without marks, then remarks about the cells.

    Columns that do not fit into `width` follow below, where possible a data set at a time.
    """
    shared = shared_marks(table)
    blocks = "\n\n".join("\n".join(_lines(_part(table, places), shared))
                         for places in _blocks(table, width, shared))
    return "\n".join([table.title, "", blocks, *remarks(table)])


def text_legend(tables: Sequence[Table]) -> str:
    """Explain the marks of cells and rows as text; "" if there are none. `remarks` explains shared ones."""
    cells = [cell for table in tables for cell in table.cells]
    marks = set().union(*({*(cell.mark for cell in table.cells), *map(use_mark, table.rows)}
                          - shared_marks(table) for table in tables))
    return " ".join(text for text, shown in (
        *((f"[0.000]: {figures} this instead.", True) for figures in dict.fromkeys(
            table.figures for table in tables if any(differs(cell) for cell in table.cells))),
        (f"{PARTIAL}: not of all pairs.", PARTIAL in marks),
        ("-: no scores.", any(math.isnan(cell.value) for cell in cells)),
        *((f"{mark}: {meaning}.", mark in marks) for mark, meaning in USE_MEANS.items())) if shown)


def _blocks(table: Table, width: int, shared: set[str]) -> list[list[int]]:
    """Divide the places of a table's columns into blocks that fit into a width."""
    def fits(places: list[int]) -> bool:
        return max(map(len, _lines(_part(table, places), shared))) <= width

    blocks: list[list[int]] = []
    for _, group in itertools.groupby(enumerate(table.columns), key=lambda one: one[1].dataset):
        of_dataset = list(group)
        places = [place for place, _ in of_dataset]
        if blocks and fits([*blocks[-1], *places]):
            blocks[-1] += places
            continue
        blocks.append([])
        for _, columns in itertools.groupby(of_dataset, key=lambda one: one[1].perturbation):
            together = [place for place, _ in columns]
            if blocks[-1] and not fits([*blocks[-1], *together]):
                blocks.append([])
            blocks[-1] += together
    return blocks


def _part(table: Table, places: Sequence[int]) -> Table:
    """Return the table with some of its columns."""
    return replace(table, columns=tuple(table.columns[place] for place in places), groups=tuple(
        replace(group, rows=tuple(replace(row, cells=tuple(row.cells[place] for place in places))
                                  for row in group.rows)) for group in table.groups))


def _lines(table: Table, shared: set[str]) -> list[str]:
    grid = [*_heading_rows(table),
            *([group.name * (row is group.rows[0]), named(row, shared),
               *(_plain(cell, shared) for cell in row.cells)]
              for group in table.groups for row in group.rows)]
    return aligned(grid, right=range(2, len(grid[0])))


def _plain(cell: Cell, shared: set[str]) -> str:
    value = ("-" if math.isnan(cell.value) else f"{cell.value:.3f}") + unless(shared, cell.mark)
    return f"{value} [{cell.printed:.3f}]" if differs(cell) else value


def _heading_rows(table: Table) -> list[list[str]]:
    """Return the heading rows of a text table; a name stands over the last column that it spans."""
    levels = spans_of(table)
    rows = []
    for level, spans in enumerate(levels):
        row = list(table.stub) if level == len(levels) - 1 else ["", ""]
        for text, width, _ in spans:
            row += [""] * (width - 1) + [text]
        rows.append(row)
    return rows

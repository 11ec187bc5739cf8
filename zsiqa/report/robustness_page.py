"""Robustness curves as a part of the page: a figure and a ranking for each data set."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from zsiqa.evaluation.human_curves import DATASET
from zsiqa.evaluation.human_thresholds import read_thresholds
from zsiqa.evaluation.robustness import Robustness, RobustnessSettings, measure_robustness
from zsiqa.evaluation.stored_levels import curves_of
from zsiqa.report.formats import csv_link, html_cells, html_list, html_table
from zsiqa.report.robustness import RANKING_LEGEND, describe_thresholds, people_lines, ranking_rows
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import ORIGINAL
from zsiqa.types import REFERENCES, StoreError, require

ABOUT = ("SRCC and the response of undistorted references against the level of a change. Bands are 95 % "
         "intervals over resampled references, the dashed line is the smallest change that people detect. "
         "The response is in units of the mildest real distortion of the data set: above 1, a change alone "
         "scores worse than that. The table has the mean SRCC from level 0 to the human threshold; its "
         "lowest value decides the order, so that a metric that is wrong everywhere is not called robust.")


def robustness_part(folder: ScoreFolder, replicates: int, datasets: Sequence[str] | None = None) -> str:
    """Write the part of the page; "" if no metric has a curve or scores of RAID.

    Args:
        folder: folder of scores.
        replicates: of the bootstrap.
        datasets: names; None for all.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for key in folder.held():
        if not key.dataset.endswith(REFERENCES) and (datasets is None or key.dataset in datasets):
            names.setdefault((key.dataset, key.metric), []).append(key.perturbation)
    chosen = sorted({dataset for (dataset, _), there in names.items()
                     if curves_of(there) or (dataset == DATASET and ORIGINAL in there)})
    if not chosen:
        return ""
    try:
        found = measure_robustness(folder, RobustnessSettings(*read_thresholds(), replicates), chosen)
    except StoreError as error:
        return f"<h3>Robustness as a curve</h3><p>No curve: {html.escape(str(error))}.</p>"
    return to_html_part(found)


def to_html_part(found: Robustness) -> str:
    """Write curves as a part of the page."""
    require("robustness curves on the page", "matplotlib")
    from zsiqa.report.figures import draw, draw_people  # matplotlib, of an extra

    parts = [f"<h3>Robustness as a curve</h3><p>{ABOUT}</p>"]
    for dataset in found.datasets:
        picture = base64.b64encode(draw(found, dataset, "svg")).decode()
        head, *body = ranking_rows(found, dataset) or [[]]
        parts.append(f'<h4>{html.escape(dataset)}</h4><div class="wide"><img alt="Curves of '
                     f'{html.escape(dataset)}; the table and the CSV file have their numbers" '
                     f'src="data:image/svg+xml;base64,{picture}"></div>')
        if body:
            parts.append(f"{html_table(head, map(html_cells, body))}"
                         f"<p>{html.escape('; '.join(RANKING_LEGEND))}</p>")
    if found.people:
        picture = base64.b64encode(draw_people(found.people.curves, "svg")).decode()
        parts.append(f'<h4>Beside people\'s response curves</h4><div class="wide"><img alt="Curves of people '
                     f'and metrics" src="data:image/svg+xml;base64,{picture}"></div><pre>'
                     f"{html.escape(chr(10).join(people_lines(found.people.rows)))}</pre>")
    about = [*describe_thresholds(found.settings.thresholds, found.settings.pixels_per_degree), *found.notes]
    return "\n".join([*parts, html_list(dict.fromkeys(about)), csv_link("robustness_curves", found.points)])

"""Notes on metrics; a note that several metrics have is one line."""

from __future__ import annotations


class MetricNotes:
    """Notes on data sets and on metrics.

    Examples:
        >>> notes = MetricNotes()
        >>> for metric in ("psnr", "ssim"):
        ...     notes.add("demo", "not ranked", metric)
        >>> notes.add("demo", "labels are levels")
        >>> notes.lines()
        ['demo/psnr, ssim: not ranked', 'demo: labels are levels']
    """

    def __init__(self) -> None:
        self._metrics: dict[tuple[str, str], list[str]] = {}

    def add(self, dataset: str, text: str, metric: str = "") -> None:
        """Add a note on a metric, or on a data set without `metric`; the same note counts once."""
        metrics = self._metrics.setdefault((dataset, text), [])
        if metric and metric not in metrics:
            metrics.append(metric)

    def lines(self) -> list[str]:
        """Return one line for each text of a data set, with the metrics that it is about."""
        return [f"{dataset}{'/' * bool(metrics)}{', '.join(metrics)}: {text}"
                for (dataset, text), metrics in self._metrics.items()]

"""zsiqa: zero-shot full-reference image quality assessment with frozen foundation models."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsiqa.metric import Metric as Metric

__version__ = "0.1.0"
CONFIGS = Path(__file__).parent.parent / "configs"


def __getattr__(name: str) -> Any:
    """`zsiqa.Metric`, imported when it is asked for: it takes torch."""
    if name == "Metric":
        from zsiqa.metric import Metric

        return Metric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

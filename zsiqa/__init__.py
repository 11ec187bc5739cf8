"""zsiqa: zero-shot full-reference image quality assessment with frozen foundation models."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsiqa.scoring.metric import Metric as Metric

__version__ = "0.1.0"
# Inside the package if it is installed, beside it in a checkout.
CONFIGS = next(folder
               for folder in (Path(__file__).parent / "configs", Path(__file__).parent.parent / "configs")
               if folder.is_dir())


def __getattr__(name: str) -> Any:
    """Import `zsiqa.Metric` and `zsiqa.torchmetrics` at first use, because they import torch."""
    if name == "Metric":
        return import_module("zsiqa.scoring.metric").Metric
    if name == "torchmetrics":
        return import_module("zsiqa.torchmetrics")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

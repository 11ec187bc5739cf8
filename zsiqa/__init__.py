"""zsiqa: zero-shot full-reference image quality assessment with frozen foundation models."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsiqa.scoring.metric import Metric

__version__ = "0.1.0"
__all__ = ["Metric", "__version__", "list_backbones", "list_baselines", "list_distances", "torchmetrics"]
# Inside the package if it is installed, beside it in a checkout.
CONFIGS = next(folder
               for folder in (Path(__file__).parent / "configs", Path(__file__).parent.parent / "configs")
               if folder.is_dir())


def list_backbones() -> list[str]:
    """List the names of backbones; `timm` and `open_clip` stand for all their models (docs/adding.md)."""
    return _names("backbone")


def list_distances() -> list[str]:
    """List the names of distances between features.

    Examples:
        >>> list_distances()
        ['cosine', 'jsd', 'l2', 'skld', 'wsd']
    """
    return _names("distance")


def list_baselines() -> list[str]:
    """List the names of baselines."""
    return _names("baseline")


def _names(group: str) -> list[str]:
    """List the names of a group that stand for one thing, not for a list of the others."""
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml")
                  if file.stem != "none" and not file.read_text("utf-8").startswith("# @package _global_"))


def __getattr__(name: str) -> Any:
    """Import `zsiqa.Metric` and `zsiqa.torchmetrics` at first use, because they import torch."""
    if name == "Metric":
        return import_module("zsiqa.scoring.metric").Metric
    if name == "torchmetrics":
        return import_module("zsiqa.torchmetrics")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

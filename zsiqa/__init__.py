"""zsiqa: zero-shot full-reference image quality assessment with frozen foundation models."""

from pathlib import Path

__version__ = "0.1.0"
CONFIGS = Path(__file__).parent.parent / "configs"

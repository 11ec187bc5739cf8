"""zsiqa: zero-shot full-reference image quality assessment with frozen foundation models."""

__version__ = "0.1.0"

"""Backbones: tiles to features and embedding."""

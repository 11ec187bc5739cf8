"""Backbones: frozen models that turn tiles into features and an embedding."""

"""Frozen networks: tiles in, features and embedding out."""

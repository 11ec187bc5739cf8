"""Scoring: images to tiles, tiles to features, features to scores."""

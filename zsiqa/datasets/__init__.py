"""Data sets: folders to labelled pairs."""

"""Runs: plan score files, fill them, resume, sweep."""

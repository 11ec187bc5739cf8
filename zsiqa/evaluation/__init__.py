"""Evaluation: correlations, tables, verdicts, the audit, rankings. Never imports torch."""

"""The report and its figures. Never imports torch."""

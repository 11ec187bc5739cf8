"""The report page, figures, tables and texts made from scores. Never imports torch."""

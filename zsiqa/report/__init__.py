"""The report page, tables and texts made from scores. Never imports torch."""

"""Score files: written by runs, read by evaluation; other people's score files."""

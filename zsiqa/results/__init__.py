"""Score files: those that our runs write, and those of the authors. Evaluation reads both."""

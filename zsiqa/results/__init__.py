"""Score files: those that our runs write, the authors', and other people's. Evaluation reads all of them."""

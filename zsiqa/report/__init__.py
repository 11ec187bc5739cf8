"""`zsiqa report`: one page, and figures, of a folder of scores."""

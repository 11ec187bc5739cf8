import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from PIL import Image

from zsiqa.report.figures import BETTER, WORSE, significance_matrix


def _pixels(folder, matrix):
    """Rows and columns of the pixels in which the picture shows better and worse."""
    names = [f"m{number}" for number in range(len(matrix))]
    png, _ = significance_matrix(pd.DataFrame(matrix, names, names), pd.Series(0.5, names), "title",
                                 folder / "a.b")
    image = np.asarray(Image.open(png).convert("RGB"))
    return [np.argwhere((image == np.round(255 * np.array(to_rgb(colour)))).all(axis=2)) for colour
            in (BETTER, WORSE)]


def test_the_row_that_is_better_is_shown_better(tmp_path):
    matrix = np.triu(np.ones((8, 8), dtype=int), 1)
    better, worse = _pixels(tmp_path, matrix - matrix.T)
    # Better is above and to the right of the diagonal; the legend has as much of either.
    assert better[:, 0].mean() < worse[:, 0].mean()
    assert better[:, 1].mean() > worse[:, 1].mean()
    nothing = _pixels(tmp_path, np.zeros((8, 8), dtype=int))
    assert 0 < len(nothing[0]) < len(better) / 10, "what is undecided is shown in the legend alone"


def test_a_stem_with_a_dot_keeps_it(tmp_path):
    _pixels(tmp_path, np.zeros((2, 2), dtype=int))
    assert {path.name for path in tmp_path.iterdir()} == {"a.b.png", "a.b.pdf"}

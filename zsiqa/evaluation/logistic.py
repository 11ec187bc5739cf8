"""Logistic regression of labels on scores, before Pearson's coefficient and the RMSE are computed.

Sources: VQEG, Final Report from the Video Quality Experts Group, Phase II (2003), for the 4-parameter curve;
Sheikh, Sabir & Bovik, IEEE TIP 15(11), 2006, for the 5-parameter curve; Golub & Pereyra, SIAM J. Numer. Anal.
10 (1973) for the separable least squares.

Both curves are a logistic function h of (x - centre) / width plus linear terms. For a given centre and width,
the linear terms have a closed form, so the search is over two parameters only, in standardised units and
within bounds. The least-squares fit is the curve whose mapped scores correlate best with the labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, optimize, special

from zsiqa.evaluation.correlation import checked

Floats = NDArray[np.float64]

# Bounds of the width, in standard deviations of the scores. Below them the curve is a step, above them a
# straight line.
WIDTHS = (1e-3, 1e3)
# Largest distance of the centre from the range of the scores, in widths. With labels that rise like an
# exponential, the best centre is infinitely far away. At this bound the curve equals an exponential up to
# exp(-12) = 6e-6, and its parameters can still be evaluated.
REACH = 12.0
MOST_EVALUATIONS = 200  # of the curve, from each start
_START_WIDTHS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_START_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)

FALLS = "the fitted curve falls: the metric has the wrong sign, or none"


class LogisticFit(NamedTuple):
    """A fitted curve.

    Attributes:
        parameters: b1..b4 or b1..b5 of `logistic`; NaN when there is no fit.
        plcc: Pearson's coefficient of mapped scores and labels, >= 0; NaN when `problem` is not empty.
        rmse: root mean squared residual, in units of the labels (divided by N, not by degrees of freedom).
        problem: reason why `plcc` is NaN, or empty.
        note: caveat about a usable fit, or empty.
    """

    parameters: Floats
    plcc: float
    rmse: float
    problem: str
    note: str


def logistic(scores: ArrayLike, parameters: ArrayLike) -> Floats:
    """Map scores with the curve of 4 or 5 parameters; the result has the shape of `scores`.

    4 parameters: b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|)).
    5 parameters: b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5, which is not always monotone.

    Raises:
        ValueError: if there are not 4 or 5 parameters.

    Examples:
        >>> float(logistic(1.0, [90.0, 10.0, 1.0, -0.5]))
        50.0
    """
    x, b = np.asarray(scores, dtype=np.float64), np.asarray(parameters, dtype=np.float64)
    if b.shape == (4,):
        return np.asarray(b[1] + (b[0] - b[1]) * special.expit((x - b[2]) / math.fabs(b[3])))
    if b.shape == (5,):
        return np.asarray(b[0] * (special.expit(b[1] * (x - b[2])) - 0.5) + b[3] * x + b[4])
    raise ValueError(f"expected 4 or 5 parameters, found shape {b.shape}")


def fit_logistic(scores: ArrayLike, labels: ArrayLike, parameters: Literal[4, 5] = 4) -> LogisticFit:
    """Fit a logistic curve of the scores to the labels by least squares.

    Higher is better for both, so a falling curve is not a fit: the metric has the wrong sign, and `plcc` and
    `rmse` are NaN. (A curve with free asymptotes would reverse the metric and hide the wrong sign.) Both are
    NaN, too, when no start converges: raw scores are never used instead.

    Args:
        scores: (N,); higher is better, finite.
        labels: (N,); higher is better, finite.
        parameters: 4 or 5.

    Raises:
        ValueError: if an argument is not as described above.

    Examples:
        >>> x = np.linspace(0, 1, 50)
        >>> fit = fit_logistic(x, logistic(x, [80, 20, 0.4, 0.1]))
        >>> [round(float(b), 3) for b in fit.parameters], round(fit.plcc, 6), fit.problem
        ([80.0, 20.0, 0.4, 0.1], 1.0, '')
    """
    x, y = checked(scores, labels)
    if parameters not in (4, 5):
        raise ValueError(f"expected 4 or 5 parameters, found {parameters}")
    if len(np.unique(x)) < parameters:
        return _failed(parameters, f"fewer than {parameters} different scores")
    if np.ptp(y) == 0:
        return _failed(parameters, "all labels are equal")
    fit = _Separable(x, y, straight=parameters == 5)
    best = fit.best_of(fit.starts())
    if best is None:
        return _failed(parameters, f"no start converged within {MOST_EVALUATIONS} evaluations")
    b = fit.to_parameters(best)
    mapped = logistic(x, b)
    ends = logistic([x.min(), x.max()], b)
    if not (np.isfinite(b).all() and np.isfinite(mapped).all()):
        return _failed(parameters, "the fitted curve is not finite")
    if ends[1] < ends[0]:
        return LogisticFit(b, math.nan, math.nan, FALLS, "")
    if np.ptp(mapped) == 0:
        return LogisticFit(b, math.nan, math.nan, "the fitted curve is flat", "")
    rmse = math.sqrt(float(np.mean((y - mapped) ** 2)))
    return LogisticFit(b, _pearson(mapped, y), rmse, "", fit.note(best))


class _Separable:
    """Least squares over the shape of the logistic function; the linear terms are projected out.

    A shape is (position, log width) on the standardised scores. Positions 0 to 1 put the centre from `REACH`
    widths below the least score to `REACH` widths above the largest.

    Attributes:
        z, y: standardised scores and labels.
        u: `y` with the constant, and the straight line if there is one, projected out.
        straight: True if a straight line is among the linear terms.
    """

    def __init__(self, x: Floats, y: Floats, *, straight: bool) -> None:
        self.straight = straight
        self.x_mean, self.x_spread, self.z = _standardise(x)
        self.y_mean, self.y_spread, self.y = _standardise(y)
        self.u = self._project(self.y)
        self.low, self.high = float(self.z.min()), float(self.z.max())
        self.lower = np.array([0.0, math.log(WIDTHS[0])])
        self.upper = np.array([1.0, math.log(WIDTHS[1])])

    def _project(self, values: Floats) -> Floats:
        """Subtract the mean and, if there is a straight line, the component along z."""
        values = values - _mean(values)
        return values - _mean(values * self.z) * self.z if self.straight else values

    def _centre(self, shape: Floats) -> tuple[float, float]:
        """Convert a shape to a centre and a width."""
        width = math.exp(shape[1])
        first, last = self.low - REACH * width, self.high + REACH * width
        return first + float(shape[0]) * (last - first), width

    def _logistic(self, shape: Floats) -> tuple[Floats, Floats, float]:
        """Return the logistic function of a shape, the same projected, and its factor in the fit.

        If the centre is below 0, 1 is subtracted: the constant is free, and tails far from the centre keep
        their digits. The factor is 0 if the function is a combination of the other terms.
        """
        centre, width = self._centre(shape)
        places = (self.z - centre) / width
        raw = np.asarray(special.expit(places) if centre >= 0 else -special.expit(-places))
        h = self._project(raw)
        square = _mean(h**2)
        is_new = square > 1e-24 * _mean(raw**2)
        return raw, h, _mean(h * self.u) / square if is_new else 0.0

    def loss(self, shape: Floats) -> tuple[float, Floats]:
        """Compute the mean squared residual of the best linear terms, and its gradient.

        The residual is orthogonal to every linear term, so the linear terms add nothing to the gradient.
        """
        raw, height, residual = self._fitted(shape)
        size = np.absolute(raw)
        centre, width = self._centre(shape)
        by_centre = residual * size * (1 - size) * (2 * height / width)  # of the loss, pair by pair
        by_width = by_centre * (self.z - centre + REACH * width * (2 * shape[0] - 1))
        reach = self.high - self.low + 2 * REACH * width
        return _mean(residual**2), np.array([_mean(by_centre) * reach, _mean(by_width)])

    def _fitted(self, shape: Floats) -> tuple[Floats, float, Floats]:
        """Return the logistic function of a shape, its factor and the residual."""
        raw, h, height = self._logistic(shape)
        return raw, height, self.u - height * h

    def starts(self) -> list[Floats]:
        """Find the local minima of the loss on a coarse grid, the best first."""
        centres = np.quantile(self.z, _START_QUANTILES)
        grid = [[self._shape(centre, width) for width in _START_WIDTHS] for centre in centres]
        losses = np.array([[_mean(self._fitted(shape)[2]**2) for shape in row] for row in grid])
        lowest = ndimage.minimum_filter(losses, size=3, mode="nearest")
        rows, columns = np.nonzero(losses == lowest)
        order = np.argsort(losses[rows, columns], kind="stable")
        return [grid[rows[index]][columns[index]] for index in order]

    def best_of(self, starts: Sequence[Floats]) -> Floats | None:
        """Fit from each start and return the best shape that converged; None if none did."""
        fits = [optimize.minimize(self.loss, start, jac=True, method="L-BFGS-B",
                                  bounds=list(zip(self.lower, self.upper, strict=True)),
                                  options={"maxfun": MOST_EVALUATIONS, "ftol": 1e-13, "gtol": 1e-9})
                for start in starts]
        # Status 1: too many evaluations. 2: the line search found nothing better; a fit may end so, too.
        converged = [fit for fit in fits if fit.status != 1 and math.isfinite(fit.fun)]
        return np.asarray(min(converged, key=lambda fit: float(fit.fun)).x) if converged else None

    def to_parameters(self, shape: Floats) -> Floats:
        """Convert a shape to the parameters of `logistic`, in the units of the scores and labels."""
        raw, _, height = self._logistic(shape)
        rest = self.y - height * raw
        slope = _mean(rest * self.z) if self.straight else 0.0
        centre, width = self._centre(shape)
        constant = _mean(rest) - (height if centre < 0 else 0.0)
        intercept = self.y_mean + self.y_spread * constant
        height, slope = height * self.y_spread, slope * self.y_spread / self.x_spread
        centre, width = self.x_mean + self.x_spread * centre, self.x_spread * width
        if not self.straight:
            return np.array([intercept + height, intercept, centre, width])
        return np.array([height, 1 / width, centre, slope, intercept + height / 2 - slope * self.x_mean])

    def _shape(self, centre: float, width: float) -> Floats:
        """Convert a centre and a width to a shape, clipped to the bounds."""
        width = min(max(width, WIDTHS[0]), WIDTHS[1])
        first, last = self.low - REACH * width, self.high + REACH * width
        return np.array([(centre - first) / (last - first), math.log(width)]).clip(self.lower, self.upper)

    def note(self, shape: Floats) -> str:
        """Return a caveat about the curve, or "" if there is none."""
        centre, width = self._centre(shape)
        # The least and largest slopes are at the ends of the scores or at the centre.
        places = (np.array([self.low, self.high, min(max(centre, self.low), self.high)]) - centre) / width
        if self.straight:
            b = self.to_parameters(shape)
            slopes = b[0] * b[1] * special.expit(places) * special.expit(-places) + b[3]
            if slopes.min() < 0 < slopes.max():
                return "the fitted curve is not monotone over the scores"
        if shape[1] > self.upper[1] - 1e-6:
            return ("the logistic part is as wide as allowed: its parameters are not determined, PLCC and "
                    "RMSE are")
        if shape[1] < self.lower[1] + 1e-6:
            return "the logistic part is as narrow as allowed: a step"
        if places[0] > 5 or places[1] < -5:
            return ("the logistic part is an exponential over the scores: its parameters are not determined, "
                    "PLCC and RMSE are")
        return ""


def _mean(values: Floats) -> float:
    """Compute the mean with a sum: a dot product would start threads, which is slower here."""
    return float(np.sum(values)) / len(values)


def _standardise(values: Floats) -> tuple[float, float, Floats]:
    """Compute the mean, the standard deviation and the standardised values."""
    mean = _mean(values)
    spread = math.sqrt(_mean((values - mean) ** 2))
    return mean, spread, (values - mean) / spread


def _pearson(x: Floats, y: Floats) -> float:
    return min(1.0, max(-1.0, _mean(_standardise(x)[2] * _standardise(y)[2])))


def _failed(parameters: int, problem: str) -> LogisticFit:
    return LogisticFit(np.full(parameters, math.nan), math.nan, math.nan, problem, "")

"""How far two rivals' results are apart, and how far they may be: asserted before anything is timed, and reported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.norms import relative_l2


@dataclass(frozen=True)
class Agreement:
    """A measure of the distance of two results, and its bound.

    Attributes:
        what: is measured, in words.
        bound: the most that passes.
        measure: measure(ours, other).
    """

    what: str
    bound: float
    measure: Callable[[Any, Any], float]

    def check(self, name: str, ours: Any, other: Any) -> float:
        """Return the distance of `ours` from the result of the rival `name`.

        Raises:
            AssertionError: it is beyond the bound, or no number.
        """
        found = self.measure(ours, other)
        assert found <= self.bound, f"{name}: {self.what}: wanted at most {self.bound:g}, got {found:g}"
        return found


def parts(result: Any) -> tuple[Any, ...]:
    """Return the tensors or numbers that a result consists of."""
    return result if isinstance(result, tuple) else (result,)


def _worst(measure: Callable[[Tensor, Tensor], float]) -> Callable[[Any, Any], float]:
    """Return the measure of two results that is the greatest of those of their parts."""

    def measure_all(ours: Any, other: Any) -> float:
        return max(measure(*map(torch.as_tensor, pair)) for pair in zip(parts(ours), parts(other), strict=True))

    return measure_all


def _different(ours: Tensor, other: Tensor) -> float:
    assert ours.shape == other.shape and ours.dtype == other.dtype
    return float((ours != other).sum())


def _largest(ours: Tensor, other: Tensor) -> float:
    assert ours.shape == other.shape
    return float((ours.double().cpu() - other.double().cpu()).abs().max())


EQUAL = Agreement("different values", 0, _worst(_different))


def near(bound: float) -> Agreement:
    """Return the check of the Euclidean norm of the difference over that of the rival's result, part by part."""
    return Agreement("relative L2", bound, _worst(relative_l2))


def close(bound: float) -> Agreement:
    """Return the check of the largest difference."""
    return Agreement("largest difference", bound, _worst(_largest))

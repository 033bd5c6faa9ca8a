import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from snnexp.kernels.apart import F1, F2, I1, caller, compile_for


def add_scaled(count: int, places: I1, factor: F1, turned: bool, out: F2):
    for n in range(count):
        out[places[n], n] += -factor[n] if turned else factor[n]


_call = caller(add_scaled)


@njit
def run(address, count, places, factor, turned, out):
    _call(address, count, places, factor, turned, out)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_was_compiled_apart_is_called_by_its_address(kind):
    out, factor = np.ones((2, 3), kind), np.array([0.5, 2.0, 4.0], kind)
    address = compile_for(add_scaled, out.dtype).address
    run(address, 2, np.array([1, 0, 0]), factor, True, out)
    np.testing.assert_array_equal(out, [[1.0, -1.0, 1.0], [0.5, 1.0, 1.0]])


@pytest.mark.parametrize("places", [np.array([1, 0, 0], np.int32), np.zeros((1, 3), np.int64)])
def test_arguments_of_other_types_than_are_annotated_are_not_compiled(places):
    out = np.ones((2, 3))
    with pytest.raises(TypingError, match="add_scaled was not written for"):
        run(0, 2, places, out[0], True, out)


def test_a_count_in_the_place_of_a_boolean_is_not_compiled():
    out = np.ones((2, 3))
    with pytest.raises(TypingError, match="add_scaled was not written for"):
        run(0, 2, np.array([1, 0, 0]), out[0], 1, out)

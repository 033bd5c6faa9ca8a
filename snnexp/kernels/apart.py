"""Functions that are compiled once, apart from the parallel loops that call them by their address.

Numba links what a function calls into it and compiles the whole anew, and a parallel loop becomes
four functions, one around the other: the loops over time would be compiled five times.
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, get_type_hints

import numpy as np
from llvmlite import ir
from numba import cfunc, from_dtype, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from snnexp.kernels.compiled import caching
from snnexp.kernels.tiles import FAST, INNER

F1 = Annotated[np.ndarray, None, 1]
"""Numbers of the scan's precision, by their axes; arrays are contiguous."""
F2 = Annotated[np.ndarray, None, 2]
F3 = Annotated[np.ndarray, None, 3]
I1 = Annotated[np.ndarray, types.int64, 1]
"""Places, flags, or 64 bits each."""
I2 = Annotated[np.ndarray, types.int64, 2]
I3 = Annotated[np.ndarray, types.int64, 3]
H1 = Annotated[np.ndarray, types.int32, 1]
"""Channels of events."""


@cache
def compile_for(function: Callable, dtype: np.dtype) -> Any:
    """The machine code of `function` for numbers of `dtype`; it lies at `.address`."""
    signature = types.void(*_kinds(function, from_dtype(dtype)))
    with caching():
        return cfunc(signature, cache=True, fastmath=FAST, **INNER)(function)


def _kinds(function, number):
    """The types of the arguments, as they are annotated."""
    plain = {int: types.int64, bool: types.boolean}

    def kind(hint):
        if hint in plain:
            return plain[hint]
        held, axes = hint.__metadata__
        return types.Array(number if held is None else held, axes, "C")

    return tuple(map(kind, get_type_hints(function, include_extras=True).values()))


def caller(function: Callable) -> Any:
    """For compiled code: `call(address, *arguments)` runs what was compiled for their precision.

    Raises TypingError, when the call is compiled, for arguments of other types than are annotated.
    """

    @intrinsic
    def call(typing_context, address, *arguments):
        given = tuple(map(types.unliteral, arguments))
        if given not in [_kinds(function, number) for number in (types.float32, types.float64)]:
            raise TypingError(f"{function.__name__} was not written for {given}")

        def generate(context, builder, signature, values):
            returned, *kinds = map(context.get_value_type, (types.none, *given))
            place = ir.FunctionType(returned, kinds).as_pointer()
            each = cgutils.unpack_tuple(builder, values[1])
            builder.call(builder.inttoptr(values[0], place), each)
            return context.get_dummy_value()

        return types.none(address, types.StarArgTuple(given)), generate

    return call

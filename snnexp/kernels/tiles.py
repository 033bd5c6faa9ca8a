"""Sums of rows and products of matrices, a tile at a time, whose sums stay in registers.

Left to the vectoriser, a loop loads and stores what it adds to for every few rows. Here a tile, a
fixed number of lanes, is a vector to the compiler, stored when all has been added.
"""

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

FAST = {"contract", "nsz"}
"""What the compiler may do with floats: fuse a product into a sum, ignore the sign of zero."""
VIEWS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""For functions that make no arrays: numba then counts no references to slices of them, which it
does by an atomic instruction each, a third of a small scan's time."""
INNER: dict[str, Any] = VIEWS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""For those of them that compiled code alone calls: nothing is compiled to call them otherwise."""

_IS_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
LANES = 128 if _IS_WIDE else 64
"""Numbers that are summed together: eight registers full of floats."""
PART = LANES // 4
"""The same for each of the rows of a product's tile."""
ROWS = 8 if _IS_WIDE else 4
"""Rows of a product's tile."""


class _Sum:
    """A vector in registers, which begins as what lies at `place`."""

    def __init__(self, builder, number, lanes, place):
        self.builder, self.lanes, self.place = builder, lanes, place
        self.kind = ir.VectorType(number, lanes)
        self.align = 4 if isinstance(number, ir.FloatType) else 8
        self.sum = cgutils.alloca_once(builder, self.kind)
        builder.store(self.read(place, ir.IntType(64)(0)), self.sum)

    def _vector(self, place):
        return self.builder.bitcast(place, self.kind.as_pointer())

    def read(self, data, start):
        place = self._vector(self.builder.gep(data, [start]))
        return self.builder.load(place, align=self.align)

    def add(self, vector):
        total = self.builder.fadd(self.builder.load(self.sum), vector, flags=("contract",))
        self.builder.store(total, self.sum)

    def add_product(self, number, vector):
        none, first = ir.Constant(self.kind, ir.Undefined), ir.IntType(32)(0)
        every = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        factor = self.builder.insert_element(none, number, first)
        factor = self.builder.shuffle_vector(factor, none, every)
        self.add(self.builder.fmul(factor, vector, flags=("contract",)))

    def write(self):
        self.builder.store(self.builder.load(self.sum), self._vector(self.place), align=self.align)


def _data(context, builder, kinds, arguments, *which):
    """The type of the numbers of some arrays among the arguments, and where each begins."""
    arrays = (context.make_array(kinds[n])(context, builder, arguments[n]).data for n in which)
    return context.get_data_type(kinds[which[-1]].dtype), *arrays


@intrinsic
def _add_tile(typing_context, rows, first, stride, chosen, count, out, at):
    """out[at:][:LANES] += the sum over k < count of rows.flat[first + chosen[k] stride:]."""

    def generate(context, builder, signature, arguments):
        _, first, stride, _, count, _, at = arguments
        number, rows, chosen, out = _data(context, builder, signature.args, arguments, 0, 3, 5)
        total = _Sum(builder, number, LANES, builder.gep(out, [at]))
        with cgutils.for_range(builder, count) as loop:
            place = builder.load(builder.gep(chosen, [loop.index]))
            total.add(total.read(rows, builder.add(first, builder.mul(place, stride))))
        total.write()
        return context.get_dummy_value()

    n = types.int64
    return types.none(rows, n, n, chosen, n, out, n), generate


@njit(fastmath=FAST, cache=True, **INNER)
def add_rows(out, rows, chosen, count):
    """`out` += the chosen rows; the last of `rows` is 0, and `chosen` has room for three more."""
    size = len(out)
    if size % LANES == 0:
        for n in range(0, size, LANES):
            _add_tile(rows, n, size, chosen, count, out, n)  # type: ignore[call-arg]
    else:
        while count % 4:
            chosen[count] = len(rows) - 1
            count += 1
        for k in range(0, count, 4):
            r0, r1 = rows[chosen[k]], rows[chosen[k + 1]]
            r2, r3 = rows[chosen[k + 2]], rows[chosen[k + 3]]
            for n in range(size):
                out[n] += (r0[n] + r1[n]) + (r2[n] + r3[n])


@intrinsic
def _multiply_tile(
    typing_context, left, gap, step, count, right, first, stride, out, row, column, width
):
    """out[i, column:][:width] += the sum of factor(i, k) right.flat[first + k stride:].

    For k < count and `ROWS` rows i from `row` on; the last stands for those that are not there.
    factor(i, k) is left.flat[i gap + k step]. width: at most PART.
    """

    def generate(context, builder, signature, arguments):
        _, gap, step, count, _, first, stride, _, row, column, width = arguments
        number, left, right, out = _data(context, builder, signature.args, arguments, 0, 4, 7)
        shape = context.make_array(signature.args[7])(context, builder, arguments[7]).shape
        height, size = cgutils.unpack_tuple(builder, shape, 2)
        last, sums, bases = builder.sub(height, row.type(1)), [], []
        bytes_each = context.get_abi_sizeof(number)
        is_part, parts = builder.icmp_signed("<", width, width.type(PART)), []
        for r in range(ROWS):
            here = builder.add(row, row.type(r))
            here = builder.select(builder.icmp_signed("<", here, last), here, last)
            place = builder.gep(out, [builder.add(builder.mul(here, size), column)])
            apart = cgutils.alloca_once(builder, number, PART)
            with builder.if_then(is_part):
                cgutils.raw_memcpy(builder, apart, place, width, bytes_each)
            sums.append(_Sum(builder, number, PART, builder.select(is_part, apart, place)))
            bases.append(builder.mul(here, gap))
            parts.append((place, apart))
        with cgutils.for_range(builder, count) as loop:
            line = sums[0].read(right, builder.add(first, builder.mul(loop.index, stride)))
            move = builder.mul(loop.index, step)
            for total, base in zip(sums, bases, strict=True):
                total.add_product(builder.load(builder.gep(left, [builder.add(base, move)])), line)
        for total in sums:
            total.write()
        with builder.if_then(is_part):
            for place, apart in parts:
                cgutils.raw_memcpy(builder, place, apart, width, bytes_each)
        return context.get_dummy_value()

    n = types.int64
    return types.none(left, n, n, n, right, n, n, out, n, n, n), generate


@njit(cache=True, **INNER)
def add_product(left, gap, step, count, right, panel, stride, out):
    """out[r, n] += the sum over k < count of left.flat[r gap + k step] right[k, n].

    right: flat; of its columns `PART` lie together, row k at k stride, the next at `panel`. The
    last row is read to the end of a part.
    """
    height, size = out.shape
    for n in range(0, size, PART):
        first, width = n // PART * panel, min(size - n, PART)
        for r in range(0, height, ROWS):
            _multiply_tile(left, gap, step, count, right, first, stride, out, r, n, width)  # type: ignore[call-arg]

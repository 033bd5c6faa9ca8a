"""Tiles of units: where they lie, how they are read, and their product with recurrent weights."""

import triton
import triton.language as tl


@triton.jit
def places(rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Places of this program's units in a step, their columns, and which of them are there."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    return row * columns + column, column, (row < rows) & (column < columns)


@triton.jit
def rows_of(weight, size, a_stride, b_stride, a, A_SIZE: tl.constexpr, B_SIZE: tl.constexpr):
    """Rows [a, a + A_SIZE) of the matrix of a product, with zeros where there is no neuron."""
    row, column = a + tl.arange(0, A_SIZE)[:, None], tl.arange(0, B_SIZE)[None, :]
    inside = (row < size) & (column < size)
    return tl.load(weight + row * a_stride + column * b_stride, mask=inside, other=0.0)


@triton.jit
def _halves(tile, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The first columns and the last ones."""
    return tl.split(tl.permute(tl.reshape(tile, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))


@triton.jit
def _by_quarters(
    tile, weight, size, a_stride, b_stride, PRECISION: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """The tile's product with a matrix too large to stay, whose rows are read in four parts."""
    quarter: tl.constexpr = COLUMNS // 4
    low, high = _halves(tile, ROWS, COLUMNS)
    first, second = _halves(low, ROWS, COLUMNS // 2)
    third, fourth = _halves(high, ROWS, COLUMNS // 2)
    w = rows_of(weight, size, a_stride, b_stride, 0, quarter, COLUMNS)
    out = tl.dot(first.to(w.dtype), w, input_precision=PRECISION)
    w = rows_of(weight, size, a_stride, b_stride, quarter, quarter, COLUMNS)
    out = tl.dot(second.to(w.dtype), w, out, input_precision=PRECISION)
    w = rows_of(weight, size, a_stride, b_stride, 2 * quarter, quarter, COLUMNS)
    out = tl.dot(third.to(w.dtype), w, out, input_precision=PRECISION)
    w = rows_of(weight, size, a_stride, b_stride, 3 * quarter, quarter, COLUMNS)
    return tl.dot(fourth.to(w.dtype), w, out, input_precision=PRECISION)


@triton.jit
def add(total, part, place, inside):
    """Total with what is at `place` of `part`, if it is there."""
    if part is not None:
        total += tl.load(part + place, mask=inside, other=0.0).to(total.dtype)
    return total


@triton.jit
def plus(total, place, part, inside, goes_on):
    """Store a tile at `place` of `total`, added to what is there if it `goes_on`."""
    before = tl.load(total + place, mask=inside & goes_on, other=0.0)
    tl.store(total + place, before + part, mask=inside)


@triton.jit
def earlier(part, place, first, t, inside):
    """A record at the step before t, of which `first` is the one before the first."""
    found = tl.load(part + place, mask=inside & (t > 0), other=0.0).to(first.dtype)
    return tl.where(t > 0, found, first)


@triton.jit
def times(
    tile, matrix, weight, size, a_stride, b_stride, PRECISION: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """The tile's product with a matrix, which is read again if it does not stay on the chip."""
    if matrix is not None:
        out = tl.dot(tile.to(matrix.dtype), matrix, input_precision=PRECISION)
    else:
        out = _by_quarters(tile, weight, size, a_stride, b_stride, PRECISION, ROWS, COLUMNS)
    return out

"""What a sample reads of a voxel grid: opacity and opacity-weighted colour, trilinear over eight voxels.

Two voxels that follow each other along z are eight neighbouring bytes. As vectors of eight they take a load, a
conversion and three operations each, a third of what numba makes of the same sums channel by channel (it leaves LLVM's
vectoriser of straight code off); the lookup is most of a rendering.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8  # red, green, blue, opacity of a voxel and of the next one along z
FLOATS = ir.VectorType(ir.FloatType(), LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)
VECTOR_MATHS = ("fast",)


def _constant(values: list[float]) -> ir.Constant:
    return ir.Constant(FLOATS, [ir.Constant(ir.FloatType(), value) for value in values])


def _lanes(builder: Any, vector: Any, order: list[int]) -> Any:
    """A vector's lanes in another order."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), [ir.Constant(ir.IntType(32), i) for i in order])
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _spread(builder: Any, scalar: Any) -> Any:
    """A float32 in every lane."""
    first = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    return _lanes(builder, first, [0] * LANES)


@intrinsic
def cell_sums(
    typing: Any, data: Any, start: Any, along_x: Any, along_y: Any, fx: Any, fy: Any, fz: Any
) -> tuple[Any, Any]:
    """Sums over the eight voxels of a cell, for compiled code.

    Args:
        data: (N,) uint8, a grid (X, Y, Z, 4) of straight colour and opacity in one row.
        start: index of the cell's first voxel in it.
        along_x: bytes to the next voxel along x.
        along_y: bytes to the next voxel along y.
        fx, fy, fz: float32 place within the cell, in [0, 1).

    Returns:
        Four float32: the sums of w a red, w a green, w a blue and w a, with the trilinear weights w and opacities a.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start, along_x, along_y, fx, fy, fz = arguments
        base = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [start])
        one = ir.Constant(ir.FloatType(), 1.0)
        # 1 - fz for the first voxel, fz for the second
        change = builder.fmul(_spread(builder, fz), _constant([-1.0] * 4 + [1.0] * 4), flags=VECTOR_MATHS)
        weights_z = builder.fadd(change, _constant([1.0] * 4 + [0.0] * 4), flags=VECTOR_MATHS)
        weights_x, weights_y = (
            (builder.fsub(one, fx, flags=VECTOR_MATHS), fx),
            (builder.fsub(one, fy, flags=VECTOR_MATHS), fy),
        )
        sums = _constant([0.0] * LANES)
        opacity_lanes = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [i % 4 == 3 for i in range(LANES)])
        for i in range(2):
            for j in range(2):
                place = builder.add(
                    builder.mul(along_x, ir.Constant(along_x.type, i)),
                    builder.mul(along_y, ir.Constant(along_y.type, j)),
                )
                pointer = builder.bitcast(builder.gep(base, [place]), BYTES.as_pointer())
                voxels = builder.uitofp(builder.load(pointer, align=1), FLOATS)
                column = builder.fmul(weights_x[i], weights_y[j], flags=VECTOR_MATHS)
                weight = builder.fmul(_spread(builder, column), weights_z, flags=VECTOR_MATHS)
                weight = builder.fmul(weight, _lanes(builder, voxels, [3] * 4 + [7] * 4), flags=VECTOR_MATHS)
                counted = builder.select(opacity_lanes, _constant([1.0] * LANES), voxels)
                sums = builder.fadd(sums, builder.fmul(weight, counted, flags=VECTOR_MATHS), flags=VECTOR_MATHS)
        both = builder.fadd(
            _lanes(builder, sums, [0, 1, 2, 3]), _lanes(builder, sums, [4, 5, 6, 7]), flags=VECTOR_MATHS
        )
        four = [builder.extract_element(both, ir.Constant(ir.IntType(32), i)) for i in range(4)]
        return context.make_tuple(builder, signature.return_type, four)

    result = types.UniTuple(types.float32, 4)
    return result(data, types.intp, types.intp, types.intp, types.float32, types.float32, types.float32), build

"""``python -m lit evaluate TASK``: score result files against labels, print a table, write JSON."""

from __future__ import annotations

from collections.abc import Callable

from datamodules.errors import InputError
from lit.arguments import closest
from lit.commands.evaluate.images import images
from lit.commands.evaluate.kitti import kitti
from lit.commands.evaluate.maps import depth, edges, segmentation
from lit.commands.evaluate.nuscenes import nuscenes
from lit.commands.evaluate.pose import pose_swap


def main(argv: list[str]) -> int:
    """Run one evaluation.

    Args:
        argv: the task and its options, such as ``["kitti", "--gt", ...]``.

    Returns:
        Exit status 0.

    Raises:
        InputError: unknown task or option, or input that cannot be evaluated.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m lit evaluate TASK ...\n\ntasks:")
        print("\n".join(f"  {name:<12} {run.__doc__.splitlines()[0]}" for name, run in TASKS.items() if run.__doc__))
        return 0
    if argv[0] not in TASKS:
        raise InputError(f"no task '{argv[0]}': expected one of {', '.join(TASKS)}{closest(argv[0], TASKS)}")
    return TASKS[argv[0]](argv[1:])


TASKS: dict[str, Callable[[list[str]], int]] = {
    "kitti": kitti,
    "nuscenes": nuscenes,
    "depth": depth,
    "segmentation": segmentation,
    "edges": edges,
    "images": images,
    "pose-swap": pose_swap,
}

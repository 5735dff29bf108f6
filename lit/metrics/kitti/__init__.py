"""KITTI average precision."""

from lit.metrics.kitti.evaluation import KittiAP, evaluate_folders, evaluate_objects, evaluate_tables, flatten

__all__ = ["KittiAP", "evaluate_folders", "evaluate_objects", "evaluate_tables", "flatten"]

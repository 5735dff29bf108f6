"""nuScenes detection metrics."""

from lit.metrics.nuscenes.evaluation import NuscenesDetection, evaluate_boxes, evaluate_files, evaluate_tables, flatten

__all__ = ["NuscenesDetection", "evaluate_boxes", "evaluate_files", "evaluate_tables", "flatten"]

"""Metrics of detectors by further benchmarks than KITTI's and nuScenes'."""

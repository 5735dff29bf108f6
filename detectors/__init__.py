"""Monocular 3D detectors: CenterNet3D, and FCOS3D on mmdet3d."""

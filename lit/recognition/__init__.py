"""What a synthetic set is worth downstream: image classification and 3D pose estimation."""

"""AP2D and AP3D as Omni3D (Cube R-CNN) evaluates them."""

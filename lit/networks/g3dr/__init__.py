"""G3DR's generator of tri-planes: a U-Net on one picture with depth, and the field that its planes are."""

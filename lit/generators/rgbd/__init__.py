"""G3DR's f_rgbd: photographs with depth, drawn for a class or a text by diffusion in an autoencoder's latents."""

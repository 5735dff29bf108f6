"""pix2pix3D: a label map and a latent to a field of colour, density and labels, and pictures of both."""

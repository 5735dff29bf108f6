"""Pictures with label maps and cameras on disk: EG3D's archives, their reader and loaders, and the studio's writer."""

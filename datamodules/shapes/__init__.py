"""Triangle meshes of what stands on a procedural street: cars, other vehicles, people, plants, buildings."""

"""Maps of nuScenes' map expansion, and the road masks that they give."""

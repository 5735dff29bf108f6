"""The procedural road world, written as a KITTI folder, and its surround version, written as a nuScenes folder."""

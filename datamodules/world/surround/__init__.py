"""The road world around a driving car: moving actors, six cameras, nuScenes' tables."""

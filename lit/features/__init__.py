"""Frozen feature networks with weights from local files.

``maps(images)`` answers layer by layer (:mod:`lit.features.layered_network`), ``vector(images)`` with one vector an
image (:mod:`lit.features.extractors`); both are differentiable in the images, and serve losses as well as metrics.
"""

"""Rendering of fields, and baking them to voxel grids.

Quadrature and plane lookup lie in :mod:`lit.networks.fields`, because GIRAFFE's and Lift3D's networks need them too.
"""

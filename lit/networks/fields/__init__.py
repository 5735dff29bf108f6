"""Fields: from points, planes and codes to density, colour and features."""

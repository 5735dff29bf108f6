"""``bench training``: steps of detectors and generators at the published sizes, each a fit of its own process."""

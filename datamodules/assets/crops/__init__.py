"""Objects cut out of labelled frames: which are worth it, their outlines (masks, segmenter, GrabCut), their pixels."""

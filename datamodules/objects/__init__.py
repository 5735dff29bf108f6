"""Pictures that generators learn from: the studio, posed and unposed image sets, masks."""

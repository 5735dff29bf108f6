"""Pictures for people: frames with boxes, contact sheets."""

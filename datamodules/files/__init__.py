"""Files as they come and as they must be left: text, typed JSON and YAML, whole or absent writes."""

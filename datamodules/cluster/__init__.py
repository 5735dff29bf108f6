"""Work over the machines of a cluster, the same bytes as on one."""

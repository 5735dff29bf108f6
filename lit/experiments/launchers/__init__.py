"""Where a sweep's jobs run: this machine, a Ray cluster, or SLURM; each is the same command line everywhere."""

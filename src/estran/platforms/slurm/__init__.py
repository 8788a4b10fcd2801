"""Hosts that Slurm allocates: one pilot job holds nodes, and an envoy on each is reached through srun."""

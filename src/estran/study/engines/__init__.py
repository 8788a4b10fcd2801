"""Where the runs of a study are made: this machine's processors, Slurm, Ray or Parsl, behind one seam."""

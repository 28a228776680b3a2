"""The write-ahead log: what is acknowledged stands here, in one file, before anything else."""

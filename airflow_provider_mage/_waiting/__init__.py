"""What every wait goes by, for runs and clusters, in workers and triggerers."""

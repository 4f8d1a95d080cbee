"""What this machine offers for profiling, and what is missing."""

"""Goroutines of running processes: read again and again, compared, and told."""

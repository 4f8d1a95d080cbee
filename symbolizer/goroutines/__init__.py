"""Reads the goroutines of a running process from outside: who they are, where they stand, what they wait for."""

"""A small Go service with its own traffic, for a first look at what a profile shows."""

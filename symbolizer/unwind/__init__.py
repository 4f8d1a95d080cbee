"""Unwind rows: how a caller is found from any pc of a file."""

"""Go binaries and processes from the outside."""

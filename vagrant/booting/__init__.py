"""Boots kernels of distributions under qemu on this machine's own files, read-only, and runs tests there."""

"""What binaries know: from (file, file virtual address) to source frames, and unwind rows per file.

This package never imports `bpf` or `agent`.
"""

"""The BPF programs, the loader process that compiles them, and the system calls that drive them."""

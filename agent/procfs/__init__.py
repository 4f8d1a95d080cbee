"""Reading /proc: what a process is, and what is mapped where."""

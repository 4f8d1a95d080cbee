"""Limits of this process."""

import resource


def raise_file_limit() -> None:
    """Every binary that was seen stays open, so that it can be named when its process has gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""The Go program of these tests; `python -m tests.boot.build` builds it ahead, where a kernel to boot is slow."""

from pathlib import Path

from tests.go import toolchains

SHARES = Path(__file__).parent / "programs" / "shares"


def shares() -> Path:
    """programs/shares, built by the newest Go version unless it is in the cache."""
    return toolchains.build(toolchains.VERSIONS[-1], "plain", SHARES)


if __name__ == "__main__":
    print(shares())

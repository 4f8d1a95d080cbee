"""The C programs of tests/kernel are built here as there."""

from tests.kernel.conftest import c_program

__all__ = ["c_program"]

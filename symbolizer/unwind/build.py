"""Makes the rows of one large file in a process of its own, so that neither its memory nor its time is ours.

    python -m symbolizer.unwind.build DESCRIPTOR PATH > encoded table

DESCRIPTOR is an open file, PATH its name for people. Writes nothing where the file has no tables.
"""

import os
import subprocess
import sys

from symbolizer.binary import Binary
from symbolizer.unwind.rows import UnwindTable
from symbolizer.unwind.store import StoreError, decode, encode
from symbolizer.unwind.table import unwind_table

_PATIENCE = 60.0
_NICENESS = 10


def made_elsewhere(binary: Binary) -> tuple[UnwindTable | None, bytes]:
    """The table of a file, and the same encoded, made by a process that ends with it; (None, b"") if there is none.

    Raises OSError where it cannot be started, and StoreError where it fails.
    """
    descriptor = binary.elf.descriptor
    if descriptor is None:
        raise OSError("the file is not open any more")
    command = [sys.executable, "-P", "-m", "symbolizer.unwind.build", str(descriptor), binary.path]
    try:
        done = subprocess.run(
            command,
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise StoreError(f"the process that makes rows ended badly: {error}") from error
    return (decode(done.stdout), done.stdout) if done.stdout else (None, b"")


def main() -> int:
    """Do it."""
    os.nice(_NICENESS)
    table = unwind_table(Binary.open(int(sys.argv[1]), sys.argv[2]))
    if table is not None:
        sys.stdout.buffer.write(encode(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())

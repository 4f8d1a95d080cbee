"""Appends to a spool and acknowledges for ever; says on standard output what has returned. Arguments: folder, sync."""

import os
import sys
from pathlib import Path

from exporters.delivery.spool import Spool, SpoolSettings
from exporters.delivery.writer import Sync


def main() -> None:
    bounds = SpoolSettings(total=1 << 24, segment=2000, largest=1000, sync=Sync(sys.argv[2]))
    spool = Spool(Path(sys.argv[1]), bounds)
    count = 0
    while True:
        spool.append(b"%d " % count + b"x" * (count * 37 % 600), 0)
        os.write(1, b"+%d\n" % count)
        count += 1
        if count % 3:
            record = spool.take(0)
            spool.acknowledge(record.sequence)
            os.write(1, b"-%d\n" % int(record.payload.split()[0]))


if __name__ == "__main__":
    main()

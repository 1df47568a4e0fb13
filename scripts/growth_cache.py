"""Takes files out of the system's memory, or brings them in, so that a measurement begins with a known state.

    python3 scripts/growth_cache.py drop FOLDER    every file in it, as after the machine was started
    python3 scripts/growth_cache.py read FILE…     all of them, from beginning to end
"""

import os
import sys

PIECE_BYTES = 1 << 20


def drop(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            file = os.open(os.path.join(place, name), os.O_RDONLY)
            os.fsync(file)  # what is not written yet stays
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def read(path):
    with open(path, "rb", buffering=0) as file:
        while file.read(PIECE_BYTES):
            pass


if __name__ == "__main__":
    for path in sys.argv[2:]:
        {"drop": drop, "read": read}[sys.argv[1]](path)

"""Starts the guest, which is a module beside this file: Python compiles the program it starts with anew each time (15 ms and
1.1 MiB for the guest), and takes a module as it was compiled before.
"""

import sys

# PYTHONSAFEPATH keeps a program's own folder off the path.
sys.path.insert(0, __file__.rpartition("/")[0])

import _lambent_guest

if __name__ == "__main__":
    _lambent_guest.main()

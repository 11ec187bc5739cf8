"""`python -m zsiqa`: the command `zsiqa`."""

import sys

from zsiqa.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

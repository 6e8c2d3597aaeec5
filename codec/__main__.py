"""``python -m nncodec``."""

from nncodec.cli import main

if __name__ == "__main__":
    main()

"""Train one network, or many with -m: `python train.py --help`."""

from snnexp.cli import main

if __name__ == "__main__":
    main()

"""`python -m bursar.entrypoints.cli`, the same as the command `bursar`."""

from bursar.entrypoints.cli.app import main

if __name__ == "__main__":
    main()

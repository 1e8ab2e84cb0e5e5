"""`python -m vera_supervisor`: the command line."""

from vera_supervisor.cli import main

if __name__ == "__main__":
    main()

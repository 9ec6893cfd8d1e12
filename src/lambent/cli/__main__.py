"""`python -m lambent.cli` is what the launcher becomes."""

from lambent.cli.main import main

if __name__ == "__main__":
    main()

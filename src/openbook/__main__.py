"""`python -m openbook` is the command `openbook`."""

from openbook.app.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m forget_audit` is the command `forget-audit`."""

from forget_audit.cli import main

if __name__ == "__main__":
    main()

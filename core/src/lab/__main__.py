"""``python -m lab``."""

from lab_command import main

main()

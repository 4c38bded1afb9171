"""The live session: its loop, inbox, runner, reporters and end."""

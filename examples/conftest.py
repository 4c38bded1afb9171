"""Example 02 is a project of its own: its tests run in test_examples.py, in an environment that has its plugin."""

collect_ignore = ["02_a_strategy_in_one_file"]

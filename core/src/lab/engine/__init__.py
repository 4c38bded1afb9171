"""The one trading loop. Pure: its inputs are events, its outputs are events, and the same in gives the same out."""

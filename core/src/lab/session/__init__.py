"""The shell around the engine: clocks, sockets, signals, files. Everything that may wait lives here."""

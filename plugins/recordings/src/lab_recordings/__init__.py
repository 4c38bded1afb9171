"""Real recorded prices, and the readers for candles and ticks in CSV."""

from lab_recordings.aggregate import aggregate
from lab_recordings.candle_file import CandleFileReader
from lab_recordings.candles import check_candles, infer_interval, read_candles, read_columns
from lab_recordings.catalog import Recording, locate, names, recording, sha256_of, shipped
from lab_recordings.dialects.loading import Reading
from lab_recordings.errors import RecordingError
from lab_recordings.survey import Survey
from lab_recordings.tick_csv import Tick, TickTrade, read_tick_columns, read_ticks
from lab_recordings.ticks import PathCandle, PathQuote, PathTrade, TickRecording

__all__ = [
    "CandleFileReader",
    "PathCandle",
    "PathQuote",
    "PathTrade",
    "Reading",
    "Recording",
    "RecordingError",
    "Survey",
    "Tick",
    "TickRecording",
    "TickTrade",
    "aggregate",
    "check_candles",
    "infer_interval",
    "locate",
    "names",
    "read_candles",
    "read_columns",
    "read_tick_columns",
    "read_ticks",
    "recording",
    "sha256_of",
    "shipped",
]

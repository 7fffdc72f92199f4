-- Jobs leave the log, and what the chain was there stays.

-- Positions that are holes: those from first to last. The event behind them is linked to hash,
-- and before is the hash of the event before them.
CREATE TABLE archived_runs (
  last INTEGER PRIMARY KEY,
  first INTEGER NOT NULL,
  before BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;

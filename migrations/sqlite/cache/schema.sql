-- Answers of the outside world, to be forgotten at any time.

-- The digest names the question, and check tells damage of the value. Times are milliseconds since 1970.
CREATE TABLE entries (
  namespace TEXT NOT NULL,
  digest BLOB NOT NULL,
  value BLOB NOT NULL,
  "check" BLOB NOT NULL,
  bytes INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER NOT NULL,
  PRIMARY KEY (namespace, digest)
) STRICT;

CREATE INDEX entries_expired ON entries (expires_at);

-- Who was not used for long is forgotten first. With the bytes, so that their sum needs no look at the values.
CREATE INDEX entries_used ON entries (used_at, bytes);

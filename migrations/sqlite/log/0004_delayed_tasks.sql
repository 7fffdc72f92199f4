-- Fewer indexes to keep for each task.

-- Tasks whose time has not come stand apart, so that a task that may start at once is in one index only.
-- Those of before are taken for delayed; the next look at the queue finds whose time has come.
ALTER TABLE tasks ADD COLUMN delayed INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET delayed = 1;

DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (handler, tenant, priority DESC, run_at, stream, stage)
  WHERE lease IS NULL AND NOT delayed;

DROP INDEX tasks_due;
CREATE INDEX tasks_delayed ON tasks (handler, run_at) WHERE lease IS NULL AND delayed;

-- The one writer knows what is held.
DROP INDEX tasks_held;

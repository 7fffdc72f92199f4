-- Tenants take turns, and a fleet asks what is held.

-- Jobs of before belong to the tenant that everyone was.
ALTER TABLE tasks ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';

-- Each tenant and each priority is a range of its own: nobody walks over the tasks of another to find his.
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (handler, tenant, priority DESC, run_at, stream, stage) WHERE lease IS NULL;

-- When the next task is due, however many tenants wait.
CREATE INDEX tasks_due ON tasks (handler, run_at) WHERE lease IS NULL;

-- What is held and by whom, without a look at what waits.
CREATE INDEX tasks_held ON tasks (lease, handler) WHERE lease IS NOT NULL;

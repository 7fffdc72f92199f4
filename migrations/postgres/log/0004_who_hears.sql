-- False if the process only works: it wants to hear of tasks and of cancelled jobs, and not of every event.
ALTER TABLE quillwork.leases ADD COLUMN hears_all boolean NOT NULL DEFAULT true;

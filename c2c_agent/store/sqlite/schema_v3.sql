-- Schema of the store, version 3: what is added to version 2.
--
-- Several processes can share a store (PostgreSQL alone, see ../postgres). What is in it belongs
-- to one of them: the one that goes on with a call after a restart, and delivers its reports.

ALTER TABLE calls ADD COLUMN server_id TEXT NOT NULL DEFAULT '';   -- whose; '': there is but one

ALTER TABLE outbox ADD COLUMN server_id TEXT NOT NULL DEFAULT '';  -- as in calls

UPDATE schema_version SET version = 3;

-- Schema of a store in PostgreSQL, version 5: what is added to version 4.
--
-- What keys use is counted as it changes, by the transactions that change `claims`, so that a claim
-- looks at a few rows, however many calls there are. `claims` stays the truth: c2c_recount makes
-- the counts anew from it. Who changes counts takes locks in this order, and so never waits in a
-- circle: its own rows of claims, the keys' rows of usage in order of name, rows of running_total
-- in order of shard, calls in order of request_id.

-- One row is what one key uses; it is the lock of all that is counted of this key.
CREATE TABLE usage (
    key_name TEXT PRIMARY KEY,
    running INTEGER NOT NULL DEFAULT 0,           -- calls in progress
    reserved DOUBLE PRECISION NOT NULL DEFAULT 0  -- seconds that they may use at the most
) WITH (fillfactor = 50);                         -- each change finds room beside the row

-- What a key has used within a slot of time, of the latest minute and day. It counts from the
-- latest in the slot on, so a minute and a day are never too short.
CREATE TABLE usage_slots (
    key_name TEXT NOT NULL,
    kind TEXT NOT NULL,                           -- minute, day: calls admitted; spent: seconds
    slot BIGINT NOT NULL,                         -- its time, in tenths of a second or in minutes
    latest DOUBLE PRECISION NOT NULL,             -- epoch seconds of the database's clock
    amount DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (key_name, kind, slot)
) WITH (fillfactor = 50);

-- The calls in progress of all keys: the sum of the rows. Each process changes one row, so that
-- they do not wait for each other; a row alone says nothing, and may be negative.
CREATE TABLE running_total (
    shard INTEGER PRIMARY KEY,
    running INTEGER NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

INSERT INTO running_total (shard) SELECT generate_series(0, 15);

-- Who waits for calls of other processes: these alone are notified. A server that crashed has
-- forgotten it, and its clients connect anew and say it again.
CREATE UNLOGGED TABLE watches (
    server_id TEXT NOT NULL,                      -- of the process that waits
    subject TEXT NOT NULL,                        -- request <request_id>, key <name>, or all
    PRIMARY KEY (subject, server_id)
);

-- Claims are looked for by time alone now, and by key only while they are in progress.
DROP INDEX claims_by_key;
DROP INDEX claims_by_end;
CREATE INDEX claims_by_time ON claims (admitted_at);
CREATE INDEX claims_by_end ON claims (ended_at) WHERE spent > 0;

-- The slot of a moment.
CREATE FUNCTION c2c_slot(kind TEXT, moment DOUBLE PRECISION) RETURNS BIGINT
LANGUAGE sql IMMUTABLE AS $$
    SELECT floor(CASE kind WHEN 'minute' THEN moment * 10 ELSE moment / 60 END)::bigint
$$;

CREATE FUNCTION c2c_now() RETURNS DOUBLE PRECISION LANGUAGE sql VOLATILE AS $$
    SELECT extract(epoch FROM clock_timestamp())::float8
$$;

-- The row of running_total that a process changes.
CREATE FUNCTION c2c_shard(process TEXT) RETURNS INTEGER LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashtext(process) & 15)
$$;

-- Add to what a key has used, at a moment.
CREATE FUNCTION c2c_use(used_key TEXT, used_kind TEXT, moment DOUBLE PRECISION, used FLOAT8)
RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    is_new BOOLEAN;
BEGIN
    INSERT INTO usage_slots AS old (key_name, kind, slot, latest, amount)
    VALUES (used_key, used_kind, c2c_slot(used_kind, moment), moment, used)
    ON CONFLICT (key_name, kind, slot) DO UPDATE
    SET amount = old.amount + excluded.amount, latest = greatest(old.latest, excluded.latest)
    RETURNING xmax = 0 INTO is_new;
    IF is_new AND used_kind <> 'minute' THEN  -- once a minute, what is over goes
        DELETE FROM usage_slots WHERE key_name = used_key AND (
            (kind = 'minute' AND slot < c2c_slot('minute', moment - 61))
            OR (kind = used_kind AND slot < c2c_slot(used_kind, moment - 86461)));
    END IF;
END
$$;

-- What a key has used since a moment: the sum, and where that is not below `listed_from` the slots,
-- the oldest first.
CREATE FUNCTION c2c_used(
    used_key TEXT, used_kind TEXT, since DOUBLE PRECISION, listed_from DOUBLE PRECISION
) RETURNS JSONB LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'sum', coalesce(sum(amount), 0),
        'slots', CASE WHEN coalesce(sum(amount), 0) >= listed_from
            THEN coalesce(jsonb_agg(jsonb_build_array(latest, amount) ORDER BY latest), '[]') END)
    FROM usage_slots
    WHERE key_name = used_key AND kind = used_kind AND latest > since
    AND slot >= c2c_slot(used_kind, since)
$$;

-- Lock the rows of keys, which are there then.
CREATE FUNCTION c2c_lock_usage(names TEXT[]) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    found INTEGER;
BEGIN
    PERFORM FROM usage WHERE key_name = ANY (names) ORDER BY key_name FOR UPDATE;
    GET DIAGNOSTICS found = ROW_COUNT;
    IF found < cardinality(names) THEN
        INSERT INTO usage (key_name) SELECT name FROM unnest(names) AS name ORDER BY name
        ON CONFLICT (key_name) DO NOTHING;
        PERFORM FROM usage WHERE key_name = ANY (names) ORDER BY key_name FOR UPDATE;
    END IF;
END
$$;

-- How many calls are in progress, of all keys. It stays so until this transaction has ended, but
-- for the claims that others decide about at this moment: at most `at_once` for each row. Where
-- these could go beyond `most`, it is exact, and others wait.
CREATE FUNCTION c2c_running(process TEXT, most INTEGER, at_once INTEGER) RETURNS INTEGER
LANGUAGE plpgsql AS $$
DECLARE
    total INTEGER;
    margin CONSTANT INTEGER := 16 * at_once;
BEGIN
    SELECT sum(running) INTO total FROM running_total;
    IF total + 2 * margin <= most THEN
        BEGIN
            -- First the row, then the sum: whoever holds another row has not been counted, but
            -- comes with `at_once` at the most.
            PERFORM FROM running_total WHERE shard = c2c_shard(process) FOR UPDATE;
            SELECT sum(running) INTO total FROM running_total;
            IF total + margin <= most THEN
                RETURN total;
            END IF;
            RAISE SQLSTATE 'C2C01';  -- gives the row back: to wait for others with it is a circle
        EXCEPTION WHEN SQLSTATE 'C2C01' THEN
            NULL;
        END;
    END IF;
    PERFORM FROM running_total ORDER BY shard FOR UPDATE;
    SELECT sum(running) INTO total FROM running_total;
    RETURN total;
END
$$;

-- Take requests, in `wanted` the columns of their calls, and find out what the keys that they come
-- with use: `keys` has for each name the sums from which the slots are wanted, too. Gives the time,
-- the calls in progress, what each key uses, and of what was taken before the record and its owner.
CREATE FUNCTION c2c_claim(
    wanted JSONB, keys JSONB, process TEXT, most INTEGER, at_once INTEGER
) RETURNS JSONB LANGUAGE plpgsql AS $$
DECLARE
    names TEXT[] := ARRAY(SELECT jsonb_object_keys(keys) ORDER BY 1);
    moment DOUBLE PRECISION;
    total INTEGER;
    earlier JSONB;
    used JSONB;
BEGIN
    IF cardinality(names) > 0 THEN
        PERFORM c2c_lock_usage(names);
        total := c2c_running(process, most, at_once);
    END IF;
    WITH one AS (
        SELECT * FROM jsonb_to_recordset(wanted) AS one (
            request_id TEXT, key_name TEXT, received_at FLOAT8, state TEXT, outcome TEXT,
            ended_at FLOAT8, record TEXT, server_id TEXT, first_number TEXT,
            second_number TEXT, place INTEGER)
    ), taken AS (
        INSERT INTO calls (
            request_id, key_name, received_at, state, outcome, ended_at, record, server_id,
            first_number, second_number)
        -- Of several for the same request in `wanted`, the first is meant.
        SELECT DISTINCT ON (request_id)
            request_id, key_name, received_at, state, outcome, ended_at, record, server_id,
            first_number, second_number
        FROM one ORDER BY request_id, place
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id
    )
    SELECT coalesce(jsonb_agg(DISTINCT request_id), '[]') INTO earlier
    FROM one WHERE request_id NOT IN (SELECT request_id FROM taken);
    -- A statement of its own, for it has to see what others have committed meanwhile.
    SELECT coalesce(jsonb_object_agg(request_id, jsonb_build_array(record, server_id)), '{}')
    INTO earlier FROM calls
    WHERE request_id IN (SELECT jsonb_array_elements_text(earlier));
    moment := c2c_now();
    SELECT coalesce(jsonb_object_agg(key_name, jsonb_build_object(
        'running', running,
        'reserved', reserved,
        'minute', CASE WHEN keys -> key_name ? 'minute' THEN c2c_used(
            key_name, 'minute', moment - 60, (keys -> key_name ->> 'minute')::float8) END,
        'day', CASE WHEN keys -> key_name ? 'day' THEN c2c_used(
            key_name, 'day', moment - 86400, (keys -> key_name ->> 'day')::float8) END,
        'spent', CASE WHEN keys -> key_name ? 'spent' THEN c2c_used(
            key_name, 'spent', moment - 86400,
            (keys -> key_name ->> 'spent')::float8 - reserved) END
    )), '{}') INTO used FROM usage WHERE key_name = ANY (names);
    RETURN jsonb_build_object('now', moment, 'total', total, 'keys', used, 'earlier', earlier);
END
$$;

-- Forget a claim whose transaction ended without its process hearing so: it is made again.
CREATE FUNCTION c2c_unclaim(unclaimed TEXT, process TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    old claims%ROWTYPE;
BEGIN
    DELETE FROM claims WHERE request_id = unclaimed RETURNING * INTO old;
    IF old.admitted_at IS NOT NULL THEN
        UPDATE usage SET running = running - old.running::int, reserved = reserved - old.reserved
        WHERE key_name = old.key_name;
        UPDATE running_total SET running = running - old.running::int
        WHERE shard = c2c_shard(process);
        PERFORM c2c_use(old.key_name, 'minute', old.admitted_at, -1);
        PERFORM c2c_use(old.key_name, 'day', old.admitted_at, -1);
    END IF;
END
$$;

-- Write down what was decided about requests that c2c_claim has taken: `decided` has request_id,
-- key_name, whether it was admitted, and the seconds reserved.
CREATE FUNCTION c2c_decide(decided JSONB, process TEXT, moment DOUBLE PRECISION) RETURNS VOID
LANGUAGE plpgsql AS $$
DECLARE
    one RECORD;
    calls INTEGER := 0;
BEGIN
    INSERT INTO claims (request_id, key_name, admitted_at, running, reserved)
    SELECT request_id, key_name, CASE WHEN admitted THEN moment END, admitted, reserved
    FROM jsonb_to_recordset(decided) AS new (
        request_id TEXT, key_name TEXT, admitted BOOLEAN, reserved FLOAT8);
    FOR one IN
        SELECT key_name, count(*)::int AS calls, sum(reserved) AS reserved
        FROM jsonb_to_recordset(decided) AS new (
            key_name TEXT, admitted BOOLEAN, reserved FLOAT8)
        WHERE admitted GROUP BY key_name ORDER BY key_name
    LOOP
        UPDATE usage SET running = running + one.calls, reserved = usage.reserved + one.reserved
        WHERE key_name = one.key_name;
        PERFORM c2c_use(one.key_name, 'minute', moment, one.calls);
        PERFORM c2c_use(one.key_name, 'day', moment, one.calls);
        calls := calls + one.calls;
    END LOOP;
    IF calls > 0 THEN
        UPDATE running_total SET running = running + calls WHERE shard = c2c_shard(process);
    END IF;
END
$$;

-- Give back what calls do not need any more: `over` has request_id, whether it has ended, and then
-- the seconds spent and whether anybody was dialled. A call's slot is given back once, as its
-- seconds are.
CREATE FUNCTION c2c_leave(over JSONB, process TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    moment CONSTANT DOUBLE PRECISION := c2c_now();
    one RECORD;
    calls INTEGER := 0;
BEGIN
    FOR one IN
        WITH gone AS (
            SELECT claim.request_id, claim.key_name, claim.running, claim.admitted_at,
                claim.reserved, told.ended AND claim.ended_at IS NULL AS settled, told.spent,
                told.dialled
            FROM jsonb_to_recordset(over) AS told (
                request_id TEXT, ended BOOLEAN, spent FLOAT8, dialled BOOLEAN)
            JOIN claims AS claim USING (request_id)
            JOIN calls AS call USING (request_id)
            WHERE call.server_id = process
            AND (claim.running OR (told.ended AND claim.ended_at IS NULL))
            ORDER BY claim.request_id FOR UPDATE OF claim
        ), changed AS (
            UPDATE claims SET running = FALSE,
                reserved = CASE WHEN settled THEN 0 ELSE claims.reserved END,
                spent = CASE WHEN settled THEN gone.spent ELSE claims.spent END,
                dialled = CASE WHEN settled THEN gone.dialled ELSE claims.dialled END,
                ended_at = CASE WHEN settled THEN moment ELSE claims.ended_at END
            FROM gone WHERE claims.request_id = gone.request_id
        )
        SELECT key_name, count(*) FILTER (WHERE running)::int AS calls,
            coalesce(sum(reserved) FILTER (WHERE settled), 0) AS reserved,
            coalesce(sum(spent) FILTER (WHERE settled AND spent > 0), 0) AS spent,
            array_agg(admitted_at) FILTER (
                WHERE settled AND NOT dialled AND admitted_at > moment - 86400) AS undialled
        FROM gone GROUP BY key_name ORDER BY key_name
    LOOP
        UPDATE usage SET running = running - one.calls, reserved = usage.reserved - one.reserved
        WHERE key_name = one.key_name;
        IF one.spent > 0 THEN
            PERFORM c2c_use(one.key_name, 'spent', moment, one.spent);
        END IF;
        IF one.undialled IS NOT NULL THEN
            UPDATE usage_slots SET amount = amount - back.calls
            FROM (SELECT c2c_slot('day', at) AS slot, count(*) AS calls
                FROM unnest(one.undialled) AS at GROUP BY 1) AS back
            WHERE key_name = one.key_name AND kind = 'day' AND usage_slots.slot = back.slot;
        END IF;
        calls := calls + one.calls;
    END LOOP;
    IF calls > 0 THEN
        UPDATE running_total SET running = running - calls WHERE shard = c2c_shard(process);
    END IF;
END
$$;

-- Count anew what is in progress, from the claims; with `slots` also what was used of the latest
-- minute and day, which looks at a day's claims. Others wait meanwhile. Gives the names of the keys
-- whose counts were wrong; NULL among them stands for the total.
CREATE FUNCTION c2c_recount(slots BOOLEAN) RETURNS TABLE (wrong TEXT) LANGUAGE plpgsql AS $$
DECLARE
    moment DOUBLE PRECISION;
    total INTEGER;
BEGIN
    LOCK TABLE usage, running_total, usage_slots IN EXCLUSIVE MODE;
    moment := c2c_now();
    RETURN QUERY
        WITH truth AS (
            SELECT claims.key_name, count(*) FILTER (WHERE claims.running)::int AS running,
                sum(claims.reserved) AS reserved
            FROM claims WHERE claims.running OR claims.reserved > 0 GROUP BY claims.key_name
        ), right_now AS (
            INSERT INTO usage AS old (key_name, running, reserved)
            SELECT key_name, coalesce(truth.running, 0), coalesce(truth.reserved, 0)
            FROM truth FULL JOIN usage USING (key_name)
            WHERE coalesce(truth.running, 0) <> coalesce(usage.running, 0)
            OR abs(coalesce(truth.reserved, 0) - coalesce(usage.reserved, 0)) > 0.001
            ON CONFLICT (key_name) DO UPDATE
            SET running = excluded.running, reserved = excluded.reserved
            RETURNING key_name
        )
        SELECT key_name FROM right_now;
    SELECT count(*) INTO total FROM claims WHERE running;
    IF total <> (SELECT sum(running) FROM running_total) THEN
        UPDATE running_total SET running = CASE shard WHEN 0 THEN total ELSE 0 END;
        RETURN QUERY SELECT NULL::text;
    END IF;
    IF slots THEN
        CREATE TEMPORARY TABLE counted ON COMMIT DROP AS
            SELECT key_name, 'minute' AS kind, c2c_slot('minute', admitted_at) AS slot,
                max(admitted_at) AS latest, count(*)::float8 AS amount
            FROM claims WHERE admitted_at > moment - 60 GROUP BY 1, 3
            UNION ALL
            SELECT key_name, 'day', c2c_slot('day', admitted_at), max(admitted_at), count(*)
            FROM claims WHERE admitted_at > moment - 86400 AND dialled GROUP BY 1, 3
            UNION ALL
            SELECT key_name, 'spent', c2c_slot('spent', ended_at), max(ended_at), sum(spent)
            FROM claims WHERE ended_at > moment - 86400 AND spent > 0 GROUP BY 1, 3;
        RETURN QUERY
            SELECT DISTINCT key_name
            FROM counted AS new FULL JOIN usage_slots AS old USING (key_name, kind, slot)
            WHERE abs(coalesce(new.amount, 0) - coalesce(old.amount, 0)) > 0.001
            -- Of the oldest slot not all counts any more.
            AND slot > c2c_slot(
                kind, moment - CASE kind WHEN 'minute' THEN 60 ELSE 86400 END);
        DELETE FROM usage_slots;
        INSERT INTO usage_slots (key_name, kind, slot, latest, amount) SELECT * FROM counted;
        DROP TABLE counted;
    END IF;
END
$$;

SELECT c2c_recount(TRUE);

UPDATE schema_version SET version = 5;

-- The audit trail and the plans of Argus. Nothing is ever changed or taken away here: hosts may read and insert.

CREATE TABLE argus_records (
    sequence bigint PRIMARY KEY CHECK (sequence > 0),
    -- The record as JSON, to the byte: what the chain is made of.
    record text NOT NULL,
    -- What is looked up; made of the record, so that it can't say anything else. Not by way of `json`, which has no \u0000; a
    -- key with its quotes can't stand inside a text, whose quotes are escaped.
    plan_id text NOT NULL GENERATED ALWAYS AS (substring(record FROM '"plan_id":"([^"\\]*)"')) STORED,
    incident_id text NOT NULL GENERATED ALWAYS AS (substring(record FROM '"incident_id":"([^"\\]*)"')) STORED,
    event text NOT NULL GENERATED ALWAYS AS (substring(record FROM '"event":"([^"\\]*)"')) STORED
);
CREATE INDEX argus_records_plan ON argus_records (plan_id, sequence);
CREATE INDEX argus_records_incident ON argus_records (incident_id, sequence);

-- Signed heads of the trail, in C2SP tlog-checkpoint format.
CREATE TABLE argus_checkpoints (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checkpoint text NOT NULL
);

-- A number for each host that opens the trail, never given twice: its fencing token.
CREATE SEQUENCE argus_hosts AS integer;

-- Which host executes a plan: the newest row of the plan; none after its end.
CREATE TABLE argus_claims (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL,
    host integer,
    is_approval boolean NOT NULL
);
CREATE INDEX argus_claims_plan ON argus_claims (plan_id, number);

-- Plans, with what was approved of them: the newest document counts.
CREATE TABLE argus_plans (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL,
    host integer NOT NULL,
    document bytea NOT NULL
);
CREATE INDEX argus_plans_plan ON argus_plans (plan_id, number);

CREATE FUNCTION argus_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows: nothing is changed or taken away', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER argus_records_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON argus_records EXECUTE FUNCTION argus_refuse();
CREATE TRIGGER argus_checkpoints_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON argus_checkpoints EXECUTE FUNCTION argus_refuse();
CREATE TRIGGER argus_claims_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON argus_claims EXECUTE FUNCTION argus_refuse();
CREATE TRIGGER argus_plans_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON argus_plans EXECUTE FUNCTION argus_refuse();

-- compatible: a program that knows only the migrations before this one goes on working
-- no transaction: indexes of a table in use are built concurrently, one statement at a time
--
-- Indexes for what operators ask. An interrupted build leaves an invalid index: it is dropped and built
-- again. Customers and track numbers are hashed, dead letters' keys are digested: a B-tree would refuse
-- a long value, and with it the order.

DROP INDEX CONCURRENTLY IF EXISTS dead_letters_open;
CREATE INDEX CONCURRENTLY dead_letters_open ON dead_letters (id) WHERE resolution IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS dead_letters_key;
CREATE INDEX CONCURRENTLY dead_letters_key ON dead_letters (sha256(key)) WHERE key IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS orders_accepted_at;
CREATE INDEX CONCURRENTLY orders_accepted_at ON orders (accepted_at DESC NULLS LAST);

DROP INDEX CONCURRENTLY IF EXISTS orders_customer_id;
CREATE INDEX CONCURRENTLY orders_customer_id ON orders USING hash (customer_id);

DROP INDEX CONCURRENTLY IF EXISTS orders_track_number;
CREATE INDEX CONCURRENTLY orders_track_number ON orders USING hash (track_number);

-- compatible: a program that knows only the migrations before this one goes on working
--
-- Indexes for what operators ask.

-- Covers the list by reason: a row's reason lies behind its payload.
CREATE INDEX dead_letters_open ON dead_letters (reason, dead_at, id) WHERE resolution IS NULL;
CREATE INDEX dead_letters_key ON dead_letters (key) WHERE key IS NOT NULL;
CREATE INDEX orders_accepted_at ON orders (accepted_at);
CREATE INDEX orders_customer_id ON orders (customer_id);
CREATE INDEX orders_track_number ON orders (track_number);

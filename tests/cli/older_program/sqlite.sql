-- What a program that knows only the migrations 001 and 002 sends to SQLite, to the letter.
-- `name:` begins a statement.

-- name: acquire
UPDATE log_positions
                SET owner = ?3, owner_group = ?4, owner_host = ?5, taken_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
                WHERE log_id = ?1 AND partition = ?2
                RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z'

-- name: advance
UPDATE log_positions
                SET next_offset = ?4, tail_offset = COALESCE(?5, tail_offset),
                    tail_digest = COALESCE(?6, tail_digest)
                WHERE id = ?1 AND owner = ?2 AND epoch = ?3 AND next_offset = ?7

-- name: upsert_position
INSERT INTO log_positions
                    (log_id, partition, topic_id, epoch, next_offset,
                     owner, owner_group, owner_host)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                ON CONFLICT (log_id, partition) DO UPDATE
                SET topic_id = excluded.topic_id,
                    epoch = excluded.epoch,
                    next_offset = excluded.next_offset,
                    tail_offset = CASE WHEN log_positions.epoch = excluded.epoch
                        THEN log_positions.tail_offset END,
                    tail_digest = CASE WHEN log_positions.epoch = excluded.epoch
                        THEN log_positions.tail_digest END
                WHERE log_positions.owner = excluded.owner
                RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z'

-- name: find
SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z' FROM log_positions WHERE log_id = ?1 AND partition = ?2

-- name: find_by_id
SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z' FROM log_positions WHERE id = ?1

-- name: of_log
SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z' FROM log_positions WHERE log_id = ?1

-- name: insert_order
INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT (order_uid) DO NOTHING

-- name: upsert_order
INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT (order_uid) DO UPDATE SET track_number = EXCLUDED.track_number, entry = EXCLUDED.entry, locale = EXCLUDED.locale, internal_signature = EXCLUDED.internal_signature, customer_id = EXCLUDED.customer_id, delivery_service = EXCLUDED.delivery_service, shardkey = EXCLUDED.shardkey, sm_id = EXCLUDED.sm_id, date_created = EXCLUDED.date_created, oof_shard = EXCLUDED.oof_shard, source_position = EXCLUDED.source_position, source_epoch = EXCLUDED.source_epoch, source_offset = EXCLUDED.source_offset, accepted_at = EXCLUDED.accepted_at
    WHERE orders.source_position IS NULL
       OR CASE WHEN orders.source_position = EXCLUDED.source_position
                AND orders.source_epoch = EXCLUDED.source_epoch
               THEN EXCLUDED.source_offset >= orders.source_offset
               ELSE EXCLUDED.accepted_at >= orders.accepted_at END

-- name: insert_delivery
INSERT INTO delivery (order_uid, name, phone, zip, city, address, region, email)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- name: insert_payment
INSERT INTO payment (order_uid, transaction_id, request_id, currency, provider, amount, payment_dt, bank, delivery_cost, goods_total, custom_fee)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)

-- name: insert_item
INSERT INTO items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)

-- name: outranked
    SELECT p.log_id, p.partition, o.source_offset
    FROM orders o JOIN log_positions p ON p.id = o.source_position
    WHERE o.order_uid = ?1 AND o.source_position <> ?2

-- name: delete_delivery
DELETE FROM delivery WHERE order_uid = ?1

-- name: delete_payment
DELETE FROM payment WHERE order_uid = ?1

-- name: delete_items
DELETE FROM items WHERE order_uid = ?1

-- name: insert_dead_letter
    INSERT INTO dead_letters (position_id, epoch, topic, partition, "offset", key, payload,
        payload_bytes, payload_sha256, order_uid, accepted_at, reason)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (position_id, epoch, "offset") DO NOTHING

-- name: insert_gap
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    VALUES (?1, ?2, ?3, ?4, ?5)

-- name: insert_gap_once
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT ?1, ?2, ?3, ?4, ?5
    WHERE NOT EXISTS (
        SELECT 1 FROM log_gaps
        WHERE position_id = ?1 AND epoch = ?2 AND from_offset = ?3 AND to_offset IS ?4
          AND reason = ?5)

-- name: by_uid
SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''), COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''), COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0), o.date_created, COALESCE(o.oof_shard, ''), COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''), COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''), COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''), COALESCE(p.provider, ''), COALESCE(p.amount, 0), COALESCE(p.payment_dt, 0), COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0), COALESCE(p.goods_total, 0), COALESCE(p.custom_fee, 0), o.source_position, o.source_epoch, o.source_offset, o.accepted_at
    FROM orders o
    LEFT JOIN delivery d ON d.order_uid = o.order_uid
    LEFT JOIN payment p ON p.order_uid = o.order_uid
    WHERE o.order_uid = ?1

-- name: latest
SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''), COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''), COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0), o.date_created, COALESCE(o.oof_shard, ''), COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''), COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''), COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''), COALESCE(p.provider, ''), COALESCE(p.amount, 0), COALESCE(p.payment_dt, 0), COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0), COALESCE(p.goods_total, 0), COALESCE(p.custom_fee, 0), o.source_position, o.source_epoch, o.source_offset, o.accepted_at
    FROM orders o
    LEFT JOIN delivery d ON d.order_uid = o.order_uid
    LEFT JOIN payment p ON p.order_uid = o.order_uid
    WHERE o.date_created IS NOT NULL ORDER BY o.date_created DESC, o.order_uid LIMIT ?1

-- name: all_orders
SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''), COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''), COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0), o.date_created, COALESCE(o.oof_shard, ''), COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''), COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''), COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''), COALESCE(p.provider, ''), COALESCE(p.amount, 0), COALESCE(p.payment_dt, 0), COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0), COALESCE(p.goods_total, 0), COALESCE(p.custom_fee, 0), o.source_position, o.source_epoch, o.source_offset, o.accepted_at
    FROM orders o
    LEFT JOIN delivery d ON d.order_uid = o.order_uid
    LEFT JOIN payment p ON p.order_uid = o.order_uid
    ORDER BY o.order_uid

-- name: items
SELECT COALESCE(i.chrt_id, 0), COALESCE(i.track_number, ''), COALESCE(i.price, 0), COALESCE(i.rid, ''), COALESCE(i.name, ''), COALESCE(i.sale, 0), COALESCE(i.size, ''), COALESCE(i.total_price, 0), COALESCE(i.nm_id, 0), COALESCE(i.brand, ''), COALESCE(i.status, 0) FROM items i WHERE i.order_uid = ?1 ORDER BY i.id

-- name: dead_letter
    SELECT topic || '/' || partition || '/' || "offset" FROM dead_letters
    WHERE order_uid = ?1 ORDER BY id DESC LIMIT 1

-- name: counts
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM dead_letters)

-- name: letters
    SELECT topic, partition, "offset", key, payload, payload_bytes, payload_sha256, order_uid,
           accepted_at, reason, dead_at
    FROM dead_letters ORDER BY id

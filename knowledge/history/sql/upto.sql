-- $1 double precision: seconds ago; what the bus accepted before that is recorded
UPDATE watermark
SET upto = greatest(upto, extract(EPOCH FROM clock_timestamp()) - $1)

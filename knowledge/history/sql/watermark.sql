-- Up to when everything is recorded, and what time it is here.
SELECT upto, extract(EPOCH FROM clock_timestamp())::double precision AS now FROM watermark

-- Moves the watermark forward, never back. $1: a time of this database.
UPDATE watermark SET upto = $1 WHERE upto < $1

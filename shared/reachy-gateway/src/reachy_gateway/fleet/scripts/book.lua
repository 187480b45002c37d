-- Add rows of a ledger to a day's sums, if they follow the last row that the sums have of this ledger. So no row is added twice
-- or left out. The mark and the sums are fields of one key, so they expire together.
-- KEYS: the day. ARGV: ledger, row before the first, last row, ttl in ms; then robot, nano-dollars, and so on.
-- Returns the last row that the sums have of this ledger.
local mark = 'upto:' .. ARGV[1]
local upto = redis.call('HGET', KEYS[1], mark) or '0'
if upto ~= ARGV[2] then return tonumber(upto) end
for n = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], 'robot:' .. ARGV[n], ARGV[n + 1]) end
redis.call('HSET', KEYS[1], mark, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return tonumber(ARGV[3])

-- Write a robot's entry again, unless another gateway has the robot. A missing entry is restored.
-- KEYS: the robot. ARGV: token, owner, sealed, ttl in ms. Returns 1, or 0 if the write is refused.
local was = redis.call('HGET', KEYS[1], 'token')
if was and was ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'owner', ARGV[2], 'sealed', ARGV[3], 'at', string.format('%d.%06d', now[1], now[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1

-- All fields of a hash, unless there are more than any fleet has: whoever writes the store must not fill a gateway's memory.
-- KEYS: the hash. ARGV: how many at most.
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then return redis.error_reply('ERR there are more of ' .. KEYS[1] .. ' than a fleet has') end
return redis.call('HGETALL', KEYS[1])

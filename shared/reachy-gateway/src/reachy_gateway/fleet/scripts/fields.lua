-- All fields of a hash. More than any fleet has are somebody else's doing, and would fill a gateway's memory: then all of them are
-- forgotten, and gateways tell again what they know.
-- KEYS: the hash. ARGV: how many at most.
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
return redis.call('HGETALL', KEYS[1])

-- Return all fields of a hash. If there are more than any fleet has, somebody else wrote them, and they would fill a gateway's
-- memory. Then the hash is deleted, and the gateways tell again what they know.
-- KEYS: the hash. ARGV: the most fields.
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
return redis.call('HGETALL', KEYS[1])

-- Remove things from a shelf, if they are unchanged since somebody read them.
-- KEYS: the shelf. ARGV: name, version:sealed, and so on. Returns how many were removed.
local dropped = 0
for n = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[n]) == ARGV[n + 1] then dropped = dropped + redis.call('HDEL', KEYS[1], ARGV[n]) end
end
return dropped

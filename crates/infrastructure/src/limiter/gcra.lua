-- Counts one request against every key, or against none.
--
-- KEYS: what is counted; all of one hash slot.
-- ARGV[1]: 1 counts past the limit, too.
-- ARGV[2..]: for each key the time one costs, the most time that may be used up at once, how many are counted, and the
-- most time that can be owed; times in microseconds.
--
-- A key holds the moment at which nothing of it will be used any more.
-- Answers {1, now, used of each key}, or {0, now, number of the key that refuses, time to wait, used of it}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local past_the_limit = ARGV[1] == '1'
local stored = redis.call('MGET', unpack(KEYS))
local after, refused, wait, used = {}, 0, 0, 0
for i = 1, #KEYS do
  local arg = 2 + (i - 1) * 4
  local interval, most = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  local cost, ceiling = tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
  local before = tonumber(stored[i] or now) or now
  -- A server whose clock was set back, or a limit that was lowered, must not lock anybody out for long.
  before = math.min(math.max(before, now), now + ceiling)
  after[i] = before + interval * cost
  local too_early = after[i] - most - now
  if too_early > wait then
    refused, wait, used = i, too_early, before - now
  end
  if past_the_limit then
    after[i] = math.min(after[i], now + ceiling)
  end
end
if refused > 0 and not past_the_limit then
  return {0, now, refused, wait, used}
end
local answer = {1, now}
for i = 1, #KEYS do
  local left = after[i] - now
  redis.call('SET', KEYS[i], string.format('%.0f', after[i]), 'PX', math.max(math.ceil(left / 1000), 1))
  answer[2 + i] = left
end
return answer

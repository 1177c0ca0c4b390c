-- stream, group of readers, N, N x entry, then what commit.lua takes: one message for each entry
local stream, entries, rest, gone = P .. ARGV[1], {}, {}, {-3}
for k = 1, tonumber(ARGV[3]) do
  entries[k] = ARGV[3 + k]
  if #call('XRANGE', stream, entries[k], entries[k]) == 0 then gone[#gone + 1] = k - 1 end
end
if #gone > 1 then return gone end
for k = 4 + #entries, #ARGV do rest[#rest + 1] = ARGV[k] end
local answer = commit(rest)
if answer == -1 or answer[1] then return answer end
call('XACK', stream, ARGV[2], unpack(entries))
call('XDEL', stream, unpack(entries))
return answer

-- Which requests wait, which are at the service, and what became of them. What the operator's promoter sets lies in the
-- map: hold ("0" or "1") and epoch (of the live instance, "0" for none).

local boot, host, port = os.getenv("EDGE_BOOT"), os.getenv("EDGE_HOST"), os.getenv("EDGE_PORT")
local hold_seconds = tonumber(os.getenv("EDGE_HOLD_SECONDS"))
local parked_cap, body_cap = tonumber(os.getenv("EDGE_PARKED")), tonumber(os.getenv("EDGE_PARKED_BODY"))

local RETRY_MS = 20
local UNANSWERED = "no answer came, and the request may have taken effect: ask again with the same id"
local map = Map.new("gate.map", Map._str)
local last_ticket, last_mark, parked, inflight = 0, 0, 0, 0
local waiting, passed = {}, {} -- by ticket
local unanswered = {} -- by request: what it may still wait, and by epoch when it first was with an instance that failed it

local function now()
  local time = core.now()
  return time.sec + time.usec / 1e6
end

local function live_epoch()
  return map:lookup("epoch") or "0"
end

local function held()
  return map:lookup("hold") ~= "0"
end

local function shut()
  return held() or live_epoch() == "0"
end

local function unpark(ticket)
  if waiting[ticket] then
    waiting[ticket] = nil
    parked = parked - 1
  end
end

-- The more wait the longer they sleep: some 5,000 looks a second, however many there are.
local function nap()
  local before = now()
  core.msleep(math.max(20, parked // 5))
  return now() - before
end

-- Waits for the gate, `left` seconds at most. Returns what is left of them, or nothing and why the request is refused.
local function wait(txn, ticket, left)
  while shut() do
    if left <= 0 then return nil, "waited too long" end
    if not waiting[ticket] then
      if parked >= parked_cap then return nil, "too many requests wait" end
      if txn.f:req_body_size() > body_cap then return nil, "the body is too large to wait" end
      waiting[ticket] = true
      parked = parked + 1
    end
    left = left - nap()
  end
  return left
end

local function new_ticket(txn)
  last_ticket = last_ticket + 1
  txn:set_var("txn.ticket", last_ticket)
  return last_ticket
end

-- What the client says in "Prefer: wait=SECONDS", or as long as anyone may.
local function patience(txn)
  local said = txn.f:req_fhdr("prefer")
  local seconds = said and tonumber((" " .. said .. " "):match("[,;%s]wait=(%d+)[,;%s]"))
  return math.min(hold_seconds, seconds or hold_seconds)
end

-- The first pass: most wait here, where a request costs one buffer.
core.register_action("park", { "http-req" }, function(txn)
  local ticket = new_ticket(txn)
  local left, why = wait(txn, ticket, patience(txn))
  unpark(ticket)
  if not left then return txn:set_var("txn.why", why) end
  txn.http:req_set_header("x-edge-left", tostring(left))
  txn:set_var("txn.passed", true)
end, 0)

-- The second pass: from the last look at the gate to the count nothing can come between.
core.register_action("admit", { "http-req" }, function(txn)
  local ticket, left, why = new_ticket(txn), tonumber(txn:get_var("txn.left")), nil
  local before = unanswered[txn:get_var("txn.request")]
  if before then
    if before.left <= 0 then return txn:set_var("txn.why", UNANSWERED) end
    core.msleep(RETRY_MS)
    left = before.left - RETRY_MS / 1000
  end
  left, why = wait(txn, ticket, left)
  unpark(ticket)
  if not left then return txn:set_var("txn.why", before and UNANSWERED or why) end
  passed[ticket] = before and before.told[live_epoch()] or now()
  inflight = inflight + 1
  txn:set_var("txn.left", tostring(left))
  txn:set_var("txn.epoch", live_epoch())
  txn:set_var("txn.passed", true)
end, 0)

-- Asked for by the log line, which HAProxy writes at the end of every request, however it ended. Says number, epoch and
-- milliseconds of a turn, or "-" for what is no turn or was told before.
core.register_fetches("leave", function(txn)
  local ticket = txn:get_var("txn.ticket")
  if not ticket then return "-" end
  unpark(ticket)
  local since = passed[ticket]
  if not since then return "-" end
  passed[ticket] = nil
  inflight = inflight - 1
  local request, epoch = txn:get_var("txn.request"), txn:get_var("txn.epoch")
  local known = unanswered[request]
  if txn:get_var("txn.answered") then
    unanswered[request] = nil
  else
    local told = known and known.told or {}
    unanswered[request] = { left = tonumber(txn:get_var("txn.left")), told = told, at = now() }
    if told[epoch] then return "-" end
    told[epoch] = since
  end
  if not txn:get_var("txn.turn") then return "-" end
  last_mark = last_mark + 1
  return string.format("%d %s %.3f", last_mark, epoch, (now() - since) * 1000)
end)

-- A client that went away leaves its entry behind.
core.register_task(function()
  while true do
    core.sleep(30)
    local limit = now() - 2 * hold_seconds
    for request, entry in pairs(unanswered) do
      if entry.at < limit then unanswered[request] = nil end
    end
  end
end)

core.register_cli({ "edge", "status" }, "edge status : what the gate does now", function(applet)
  local time, oldest = now(), 0
  for _, since in pairs(passed) do
    oldest = math.max(oldest, time - since)
  end
  applet:send(string.format(
    '{"boot": "%s", "host": "%s", "port": %s, "held": %s, "epoch": %s, "inflight": %d, "oldest_seconds": %.3f, "parked": %d}\n',
    boot, host, port, held(), live_epoch(), inflight, oldest, parked
  ))
end)

core.register_action("clock", { "http-req" }, function(txn)
  local micros = txn:get_var("txn.clock")
  txn.http:req_set_header("x-turn-clock", string.format("%d.%06d", micros // 1000000, micros % 1000000))
end, 0)

-- Browsers don't tell cookies of one host apart by port: the page's must not reach the service, nor be set by it.
local function own(pair)
  return pair:match("^%s*(.*)"):sub(1, 7):lower() == "evolve_"
end

-- In linear time: the usual one pattern for both ends is quadratic, and matching can't be interrupted.
local function trimmed(text)
  return text:match(".*%S", text:match("^%s*()")) or ""
end

local function values(headers, name)
  local found = {}
  if headers[name] then
    for index = 0, #headers[name] do found[#found + 1] = headers[name][index] end
  end
  return found
end

core.register_action("without_own_cookies", { "http-req" }, function(txn)
  local all = values(txn.http:req_get_headers(), "cookie")
  txn.http:req_del_header("cookie")
  for _, value in ipairs(all) do
    local kept = {}
    for pair in value:gmatch("[^;]+") do
      if not own(pair) then kept[#kept + 1] = trimmed(pair) end
    end
    if #kept > 0 then txn.http:req_add_header("cookie", table.concat(kept, "; ")) end
  end
end, 0)

core.register_action("without_own_set_cookies", { "http-res" }, function(txn)
  local all = values(txn.http:res_get_headers(), "set-cookie")
  txn.http:res_del_header("set-cookie")
  for _, value in ipairs(all) do
    if not own(value) then txn.http:res_add_header("set-cookie", value) end
  end
end, 0)

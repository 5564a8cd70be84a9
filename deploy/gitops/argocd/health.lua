-- The health of a Rollout, for Argo CD. A rollout in flight is Progressing, so that a sync wave waits for its end.
local told = { status = "Progressing", message = "the engine has not seen it yet" }
local status = obj.status
if status == nil or status.phase == nil then
  return told
end
if status.observedGeneration ~= nil and status.observedGeneration < obj.metadata.generation then
  told.message = "the engine has not seen this version of it yet"
  return told
end

local decided = ""
if status.lastDecision ~= nil and status.lastDecision.message ~= nil then
  decided = status.lastDecision.message
end
local health = {
  Healthy = "Healthy",
  -- A person is waited for.
  Waiting = "Suspended",
  Paused = "Suspended",
  -- The new version is taken back, or was; or somebody else writes the weights.
  RollingBack = "Degraded",
  Degraded = "Degraded",
  Conflicted = "Degraded",
}
told.status = health[status.phase] or "Progressing"
if told.status == "Progressing" or told.status == "Healthy" then
  for _, condition in ipairs(status.conditions or {}) do
    if condition.type == "Stalled" and condition.status == "True" then
      told.status = "Degraded"
      decided = condition.message
    end
  end
end
local where = status.phase
if status.weight ~= nil then
  where = where .. " at " .. status.weight
end
told.message = where
if decided ~= "" then
  told.message = where .. ": " .. decided
end
return told

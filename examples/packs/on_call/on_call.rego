# METADATA
# title: On call
# description: |
#   Outside office hours (UTC) what isn't urgent waits for a person, and no app is restarted twice by one plan: whoever is on
#   call at night should find the cluster as the day left it, or mended, never half-way.
package argus.packs.on_call

import rego.v1

settings := data.argus_data.on_call

hour := substring(input.time, 11, 5)

office_hours if {
	input.weekday in settings.office_days
	hour >= settings.office_from
	hour < settings.office_to
}

# METADATA
# title: At night only what is urgent runs without a person
# custom:
#   id: oncall-urgent
passed contains "oncall-urgent" if office_hours

passed contains "oncall-urgent" if input.incident.severity in settings.urgent

# A person who asks is a person who is there.
passed contains "oncall-urgent" if input.actor.kind == "user"

require_approval contains {
	"id": "oncall-urgent", "step": null,
	"message": "outside office hours only urgent incidents are mended without a person",
	"hint": "ask who is on call to approve it, or wait for the morning",
} if {
	not office_hours
	not input.incident.severity in settings.urgent
	not input.actor.kind == "user"
}

# METADATA
# title: One plan restarts an app once
# custom:
#   id: oncall-restarts
passed contains "oncall-restarts" if count(restarts) <= 1

deny contains {
	"id": "oncall-restarts", "step": null,
	"message": sprintf("the plan restarts %d things", [count(restarts)]),
	"hint": "restart one workload, and look whether it helps before the next",
} if {
	count(restarts) > 1
}

restarts := [step | some step in input.plan.steps; step.kind in {"rollout_restart", "delete_pod"}]

package argus.packs.on_call

import rego.v1

case(moment, weekday, severity, kinds) := {
	"time": moment, "weekday": weekday,
	"actor": {"kind": "automatic", "name": "argus"},
	"incident": {"severity": severity},
	"plan": {"steps": [{"kind": kind} | some kind in kinds]},
}

night := "2026-11-25T02:00:00Z"

noon := "2026-11-25T12:00:00Z"

ids(set) := {one.id | some one in set}

test_in_office_hours_everything_passes if {
	passed == {"oncall-urgent", "oncall-restarts"} with input as case(noon, "wednesday", "low", ["scale"])
}

test_at_night_what_is_urgent_passes if {
	"oncall-urgent" in passed with input as case(night, "wednesday", "critical", ["scale"])
	"oncall-urgent" in passed with input as case(noon, "sunday", "high", ["scale"])
}

test_at_night_the_rest_waits if {
	every severity in ["low", "medium", null] {
		ids(require_approval) == {"oncall-urgent"} with input as case(night, "wednesday", severity, ["scale"])
	}
	ids(require_approval) == {"oncall-urgent"} with input as case(noon, "sunday", "low", ["scale"])
	not "oncall-urgent" in passed with input as case(night, "wednesday", "low", ["scale"])
}

test_a_person_is_there if {
	asked := object.union(case(night, "wednesday", "low", ["scale"]), {"actor": {"kind": "user", "name": "ada"}})
	"oncall-urgent" in passed with input as asked
	count(require_approval) == 0 with input as asked
}

test_two_restarts_are_too_many if {
	ids(deny) == {"oncall-restarts"} with input as case(noon, "wednesday", "low", ["rollout_restart", "scale", "delete_pod"])
	"oncall-restarts" in passed with input as case(noon, "wednesday", "low", ["rollout_restart", "scale"])
}

package argus.packs.change_freeze

import rego.v1

at(moment, weekday) := {"time": moment, "weekday": weekday}

holidays := {
	"windows": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-03T06:00:00Z", "reason": "nobody is here"}],
	"weekly": [],
}

weekends := {
	"windows": [],
	"weekly": [
		{"days": ["friday"], "from": "16:00", "to": "24:00", "reason": "the weekend begins"},
		{"days": ["saturday", "sunday"], "from": "00:00", "to": "24:00", "reason": "the weekend"},
	],
}

ids(set) := {one.id | some one in set}

test_without_windows_everything_passes if {
	passed == {"freeze-windows", "freeze-weekly"} with input as at("2026-12-24T18:00:00Z", "thursday")
	count(deny) == 0 with input as at("2026-12-24T18:00:00Z", "thursday")
}

test_inside_a_window_nothing_is_changed if {
	every moment in ["2026-12-20T00:00:00Z", "2026-12-24T18:00:00.5Z", "2027-01-03T05:59:59.999999999Z"] {
		ids(deny) == {"freeze-windows"} with input as at(moment, "thursday") with data.argus_data.change_freeze as holidays
		passed == {"freeze-weekly"} with input as at(moment, "thursday") with data.argus_data.change_freeze as holidays
	}
}

test_a_window_ends if {
	every moment in ["2026-12-19T23:59:59.9Z", "2027-01-03T06:00:00Z", "2027-01-03T06:00:00.1Z"] {
		count(deny) == 0 with input as at(moment, "sunday") with data.argus_data.change_freeze as holidays
	}
}

test_hours_of_the_week if {
	every case in [["2026-11-27T15:59:59Z", "friday"], ["2026-11-26T17:00:00Z", "thursday"], ["2026-11-30T00:00:00Z", "monday"]] {
		count(deny) == 0 with input as at(case[0], case[1]) with data.argus_data.change_freeze as weekends
	}
	every case in [["2026-11-27T16:00:00Z", "friday"], ["2026-11-27T23:59:59Z", "friday"], ["2026-11-28T00:00:00Z", "saturday"]] {
		ids(deny) == {"freeze-weekly"} with input as at(case[0], case[1]) with data.argus_data.change_freeze as weekends
		passed == {"freeze-windows"} with input as at(case[0], case[1]) with data.argus_data.change_freeze as weekends
	}
}

test_without_a_time_nothing_passes if {
	count(passed) == 0 with input as {} with data.argus_data.change_freeze as object.union(holidays, {"weekly": weekends.weekly})
}

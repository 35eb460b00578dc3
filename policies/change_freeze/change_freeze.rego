# METADATA
# title: Change freeze
# description: When nothing is changed, by the windows that the host sets. The time is the input's, in UTC.
package argus.packs.change_freeze

import rego.v1

settings := data.argus_data.change_freeze

# Texts of one length compare as the times that they are.
now := substring(input.time, 0, 19)

hour := substring(input.time, 11, 5)

# METADATA
# title: Nothing is changed from one moment to another
# custom:
#   id: freeze-windows
passed contains "freeze-windows" if {
	every window in settings.windows {
		outside(window)
	}
}

deny contains violation("freeze-windows", message, hint) if {
	some window in settings.windows
	not outside(window)
	message := sprintf("nothing is changed until %s: %s", [window.to, window.reason])
	hint := sprintf("wait until %s, or do it by hand", [window.to])
}

# The end is the first moment that is free again.
outside(window) if now < substring(window.from, 0, 19)

outside(window) if now >= substring(window.to, 0, 19)

# METADATA
# title: Nothing is changed at hours of some days of the week
# custom:
#   id: freeze-weekly
passed contains "freeze-weekly" if {
	every window in settings.weekly {
		another_time(window)
	}
}

deny contains violation("freeze-weekly", message, hint) if {
	some window in settings.weekly
	not another_time(window)
	message := sprintf("nothing is changed on %s from %s to %s UTC: %s", [input.weekday, window.from, window.to, window.reason])
	hint := sprintf("wait until %s UTC, or do it by hand", [window.to])
}

another_time(window) if {
	input.weekday in weekdays
	not input.weekday in window.days
}

weekdays := {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

another_time(window) if hour < window.from

another_time(window) if hour >= window.to

violation(id, message, hint) := {"id": id, "step": null, "message": message, "hint": hint}

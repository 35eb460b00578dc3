# METADATA
# title: Team namespaces
# description: |
#   Steps in the team's own namespaces pass, steps in a protected namespace are denied, and all others wait for a person.
package argus.packs.team_namespaces

import rego.v1

own := data.argus_data.team_namespaces.own

protected := data.argus_data.team_namespaces.protected

# What is only shown to people changes nothing.
unprotected(step) if step.kind == "manual"

unprotected(step) if not step.target.namespace in protected

# METADATA
# title: Protected namespaces are never changed
# custom:
#   id: team-protected
passed contains "team-protected" if {
	every step in input.plan.steps {
		named(step)
		unprotected(step)
	}
}

deny contains {
	"id": "team-protected", "step": step.index,
	"message": sprintf("step %d changes a namespace that nobody but its team may change", [step.index + 1]),
	"hint": "leave it to the team that owns the namespace",
} if {
	some step in input.plan.steps
	not unprotected(step)
}

# A step without a namespace passes nothing.
named(step) if step.kind == "manual"

named(step) if is_string(step.target.namespace)

ours(step) if step.kind == "manual"

ours(step) if step.target.namespace in own

# METADATA
# title: Another team's namespace needs a yes
# custom:
#   id: team-foreign
passed contains "team-foreign" if {
	every step in input.plan.steps {
		ours(step)
	}
}

require_approval contains {
	"id": "team-foreign", "step": step.index,
	"message": sprintf("step %d changes a namespace of another team", [step.index + 1]),
	"hint": "ask somebody of that team to approve it",
} if {
	some step in input.plan.steps
	not ours(step)
}

# METADATA
# title: Baseline
# description: |
#   What Argus never does, whatever a model proposes: nothing outside the configured namespaces, no kind that isn't on the
#   list, nothing forced, no high risk unless the host allows it, nothing that lets an app do more than before.
#   Every rule compares with what is allowed, and either passes or says why not. What it compares is asked once, by a rule
#   of its own: `deny` looks for the culprits only where that doesn't hold.
package argus.packs.baseline

import rego.v1

max_steps := 10

actions := {"rollout_restart", "scale", "set_resources", "set_image", "patch", "delete_pod", "rollout_undo", "manual"}

kinds := {
	"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Service", "Ingress", "HorizontalPodAutoscaler",
	"PodDisruptionBudget", "Pod",
}

all_steps := array.concat(input.plan.steps, input.plan.rollback_steps)

# METADATA
# title: A plan has at most 10 steps
# custom:
#   id: baseline-size
passed contains "baseline-size" if small

deny contains violation("baseline-size", null, message, "split the work into smaller plans") if {
	not small
	message := sprintf("the plan has more than %d steps", [max_steps])
}

small if count(input.plan.steps) <= max_steps

# METADATA
# title: Only the seven actions and manual steps
# custom:
#   id: baseline-actions
passed contains "baseline-actions" if known_actions

deny contains violation("baseline-actions", step.index, message, "use one of the actions that Argus knows") if {
	not known_actions
	some step in input.plan.steps
	not step.kind in actions
	message := sprintf("step %d is no action that Argus may execute", [step.index + 1])
}

known_actions if {
	every step in all_steps {
		step.kind in actions
	}
}

# METADATA
# title: Only kinds of objects that Argus may change
# custom:
#   id: baseline-kinds
passed contains "baseline-kinds" if known_kinds

deny contains violation("baseline-kinds", step.index, message, "change only workloads, services, ingresses and the like") if {
	not known_kinds
	some step in input.plan.steps
	not kind_allowed(step)
	message := sprintf("step %d changes a kind of object that Argus never touches", [step.index + 1])
}

deny contains violation("baseline-kinds", null, message, "change only workloads, services, ingresses and the like") if {
	not known_kinds
	some step in input.plan.rollback_steps
	not kind_allowed(step)
	message := sprintf("rollback step %d changes a kind of object that Argus never touches", [step.index + 1])
}

known_kinds if {
	every step in all_steps {
		kind_allowed(step)
	}
}

kind_allowed(step) if step.target.kind in kinds

kind_allowed(step) if step.kind == "manual"

# METADATA
# title: Only objects in the configured namespaces
# custom:
#   id: baseline-scope
passed contains "baseline-scope" if all_in_scope

deny contains violation("baseline-scope", step.index, message, "change only objects in the namespaces of the scope") if {
	not all_in_scope
	some step in input.plan.steps
	not in_scope(step)
	message := sprintf("step %d changes something outside the namespaces that Argus may work in", [step.index + 1])
}

deny contains violation("baseline-scope", null, message, "change only objects in the namespaces of the scope") if {
	not all_in_scope
	some step in input.plan.rollback_steps
	not in_scope(step)
	message := sprintf("rollback step %d changes something outside the namespaces that Argus may work in", [step.index + 1])
}

all_in_scope if {
	every step in all_steps {
		in_scope(step)
	}
}

in_scope(step) if step.target.namespace in input.scope.namespaces

in_scope(step) if step.kind == "manual"

# METADATA
# title: Nothing is forced
# custom:
#   id: baseline-no-force
passed contains "baseline-no-force" if all_gentle

deny contains violation("baseline-no-force", step.index, message, "leave the flag out: an app always gets its time to stop") if {
	not all_gentle
	some step in input.plan.steps
	not gentle(step)
	message := sprintf("step %d forces something", [step.index + 1])
}

deny contains violation("baseline-no-force", null, message, "leave the flag out: an app always gets its time to stop") if {
	not all_gentle
	some step in input.plan.rollback_steps
	not gentle(step)
	message := sprintf("rollback step %d forces something", [step.index + 1])
}

all_gentle if {
	every step in all_steps {
		gentle(step)
	}
}

gentle(step) if {
	command := step.command
	not contains(command, " --force")
	not contains(command, " --grace-period")
	not contains(command, " --now")
}

# METADATA
# title: No high risk, unless the host allows it
# custom:
#   id: baseline-high-risk
passed contains "baseline-high-risk" if risk_allowed

deny contains violation(
	"baseline-high-risk", null,
	"high-risk plans are blocked",
	"find a plan that can hurt less; a host may switch on `remediation.allow_high_risk`",
) if {
	not risk_allowed
}

risk_allowed if input.plan.risk_level in {"low", "medium"}

risk_allowed if {
	input.plan.risk_level == "high"
	input.settings.allow_high_risk == true
}

# Nothing is run of a plan with a step for people, nor of an empty one: only what would run of it counts.
risk_allowed if {
	input.plan.risk_level == "high"
	nothing_runs
	every step in input.plan.steps {
		step_allowed(step)
	}
}

nothing_runs if count(input.plan.steps) == 0

nothing_runs if {
	some step in input.plan.steps
	step.kind == "manual"
}

step_allowed(step) if step.kind == "manual"

step_allowed(step) if step.risk in {"low", "medium"}

# METADATA
# title: Nothing that Argus never changes, whatever a host allows
# custom:
#   id: baseline-never
passed contains "baseline-never" if none_forbidden

deny contains violation("baseline-never", step.index, message, "leave this field as it is") if {
	not none_forbidden
	some step in input.plan.steps
	some field in step.fields
	not may_change(field)
	message := sprintf("step %d would change `%s`, which Argus never does: %s", [step.index + 1, field.field, field.why])
}

none_forbidden if {
	every step in input.plan.steps {
		every field in step.fields {
			may_change(field)
		}
	}
}

may_change(field) if field.never == false

# METADATA
# title: Only changes on the table of allowed changes, unless the host allows high risk
# custom:
#   id: baseline-listed
passed contains "baseline-listed" if all_listed

deny contains violation(
	"baseline-listed", step.index, message,
	"make a change that is on the table; a host may switch on `remediation.allow_high_risk`",
) if {
	not all_listed
	some step in input.plan.steps
	some field in step.fields
	not on_the_table(field)
	message := sprintf("step %d would change `%s`, which is high-risk: %s", [step.index + 1, field.field, field.why])
}

all_listed if {
	every step in input.plan.steps {
		every field in step.fields {
			on_the_table(field)
		}
	}
}

on_the_table(field) if {
	field.listed == true
	field.risk in {"low", "medium"}
}

on_the_table(field) if {
	field.risk == "high"
	input.settings.allow_high_risk == true
}

# METADATA
# title: What Argus can't do is left to people
# custom:
#   id: baseline-manual
passed contains "baseline-manual" if {
	every step in input.plan.steps {
		step.kind != "manual"
	}
}

manual contains violation("baseline-manual", step.index, step.reason, "leave it to a person, or use an action that Argus knows") if {
	some step in input.plan.steps
	step.kind == "manual"
}

# METADATA
# title: A person approves what can interrupt an app
# custom:
#   id: baseline-approval
passed contains "baseline-approval" if harmless

require_approval contains violation(
	"baseline-approval", null,
	"a person has to approve what can interrupt an app",
	"nothing to change: ask for the approval",
) if {
	not harmless
}

harmless if {
	input.plan.risk_level == "low"
	every step in input.plan.steps {
		step.is_destructive == false
	}
}

# METADATA
# title: A person approves a change of another app than the incident's
# custom:
#   id: baseline-other-app
passed contains "baseline-other-app" if all_of_incident

require_approval contains violation(
	"baseline-other-app", step.index, message,
	"nothing to change: ask for the approval",
) if {
	not all_of_incident
	some step in input.plan.steps
	not of_incident(step)
	message := sprintf("step %d changes something that the incident is not known to be about", [step.index + 1])
}

all_of_incident if {
	every step in input.plan.steps {
		of_incident(step)
	}
}

of_incident(step) if step.of_incident == true

of_incident(step) if step.kind == "manual"

# METADATA
# title: What the API server returns is the object that the plan names
# custom:
#   id: baseline-same-object
passed contains "baseline-same-object" if all_the_same

deny contains violation("baseline-same-object", result.step, message, "change the object that the step names") if {
	not all_the_same
	some result in input.objects
	not same_object(result)
	message := sprintf("step %d would change another object than the one that it names", [result.step + 1])
}

all_the_same if {
	objects_given
	every result in input.objects {
		same_object(result)
	}
}

# Without objects there is nothing to pass, unless there is nothing to do.
objects_given if count(input.objects) > 0

objects_given if count(input.plan.steps) == 0

same_object(result) if {
	every state in states(result) {
		names_target(state, result.step)
	}
}

names_target(state, index) if {
	target := input.plan.steps[index].target
	state.kind == target.kind
	state.metadata.name == target.name
	state.metadata.namespace == target.namespace
	state.metadata.namespace in input.scope.namespaces
}

# A deleted object has no state after.
states(result) := [result.before] if result.after == null

states(result) := [result.after] if result.before == null

states(result) := [result.before, result.after] if {
	result.before != null
	result.after != null
}

# METADATA
# title: Nothing may do more than before
# custom:
#   id: baseline-no-escalation
passed contains "baseline-no-escalation" if none_stronger

deny contains violation("baseline-no-escalation", result.step, message, "leave security settings, host access and the service account as they are") if {
	not none_stronger
	some result in input.objects
	not no_more_than_before(result)
	message := sprintf("step %d would let the app do more than before", [result.step + 1])
}

none_stronger if {
	objects_given
	every result in input.objects {
		no_more_than_before(result)
	}
}

no_more_than_before(result) if result.after == null

no_more_than_before(result) if pod_spec(result.after) == pod_spec(result.before)

no_more_than_before(result) if {
	result.after != null
	result.before != null
	pod_spec(result.after) != pod_spec(result.before)
	count(powers(result.after) - powers(result.before)) == 0
}

# What a pod of the object may do beyond the ordinary, each as a word; an object without pods has none.
powers(result) := ((host | containers) | volumes) | account if {
	spec := pod_spec(result)
	host := {field | some field in ["hostNetwork", "hostPID", "hostIPC"]; value_in(spec, field) == true}
	containers := {power |
		some list in ["containers", "initContainers", "ephemeralContainers"]
		some container in array_in(spec, list)
		some power in container_powers(container)
	}
	volumes := {sprintf("hostPath %s", [volume.hostPath.path]) | some volume in array_in(spec, "volumes"); volume.hostPath.path}
	account := {sprintf("serviceAccount %v", [value_in(spec, "serviceAccountName")])}
}

pod_spec(result) := spec if {
	spec := result.spec.template.spec
} else := spec if {
	spec := result.spec.jobTemplate.spec.template.spec
} else := result.spec if {
	result.kind == "Pod"
} else := {} if {
	result.kind in {"Service", "Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
}

container_powers(container) := (flags | capabilities) | ports if {
	context := object_in(container, "securityContext")
	flags := {sprintf("%s %s", [container.name, field]) |
		some field in ["privileged", "allowPrivilegeEscalation"]
		value_in(context, field) == true
	}
	capabilities := {sprintf("%s capability %s", [container.name, capability]) |
		some capability in array_in(object_in(context, "capabilities"), "add")
	}
	ports := {sprintf("%s hostPort %d", [container.name, port.hostPort]) |
		some port in array_in(container, "ports")
		port.hostPort > 0
	}
}

value_in(map, field) := object.get(map, field, null)

object_in(map, field) := value if {
	value := object.get(map, field, {})
	is_object(value)
} else := {}

array_in(map, field) := value if {
	value := object.get(map, field, [])
	is_array(value)
} else := []

violation(id, step, message, hint) := {"id": id, "step": step, "message": message, "hint": hint}

# METADATA
# title: Baseline
# description: |
#   What Argus never does, whatever a model proposes: nothing outside the configured namespaces, no kind that isn't on the
#   list, nothing forced, no high risk unless the host allows it, nothing that lets an app do more than before.
#   Every rule compares with what is allowed, and either passes or says why not.
package argus.packs.baseline

import rego.v1

max_steps := 10

actions := {"rollout_restart", "scale", "set_resources", "set_image", "patch", "delete_pod", "rollout_undo", "manual"}

kinds := {
	"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Service", "Ingress", "HorizontalPodAutoscaler",
	"PodDisruptionBudget", "Pod",
}

all_steps := array.concat(input.plan.steps, input.plan.rollback_steps)

# --- baseline-size ---

passed contains "baseline-size" if count(input.plan.steps) <= max_steps

deny contains violation("baseline-size", null, message, "split the work into smaller plans") if {
	not small
	message := sprintf("the plan has more than %d steps", [max_steps])
}

small if count(input.plan.steps) <= max_steps

# --- baseline-actions ---

passed contains "baseline-actions" if {
	every step in all_steps {
		step.kind in actions
	}
}

deny contains violation("baseline-actions", step.index, message, "use one of the actions that Argus knows") if {
	some step in input.plan.steps
	not step.kind in actions
	message := sprintf("step %d is no action that Argus may execute", [step.index + 1])
}

# --- baseline-kinds ---

passed contains "baseline-kinds" if {
	every step in all_steps {
		kind_allowed(step)
	}
}

deny contains violation("baseline-kinds", step.index, message, "change only workloads, services, ingresses and the like") if {
	some step in input.plan.steps
	not kind_allowed(step)
	message := sprintf("step %d changes a kind of object that Argus never touches", [step.index + 1])
}

deny contains violation("baseline-kinds", null, message, "change only workloads, services, ingresses and the like") if {
	some step in input.plan.rollback_steps
	not kind_allowed(step)
	message := sprintf("rollback step %d changes a kind of object that Argus never touches", [step.index + 1])
}

kind_allowed(step) if step.kind == "manual"

kind_allowed(step) if step.target.kind in kinds

# --- baseline-scope ---

passed contains "baseline-scope" if {
	every step in all_steps {
		in_scope(step)
	}
}

deny contains violation("baseline-scope", step.index, message, "change only objects in the namespaces of the scope") if {
	some step in input.plan.steps
	not in_scope(step)
	message := sprintf("step %d changes something outside the namespaces that Argus may work in", [step.index + 1])
}

deny contains violation("baseline-scope", null, message, "change only objects in the namespaces of the scope") if {
	some step in input.plan.rollback_steps
	not in_scope(step)
	message := sprintf("rollback step %d changes something outside the namespaces that Argus may work in", [step.index + 1])
}

in_scope(step) if step.kind == "manual"

in_scope(step) if step.target.namespace in input.scope.namespaces

# --- baseline-no-force ---

passed contains "baseline-no-force" if {
	every step in all_steps {
		gentle(step)
	}
}

deny contains violation("baseline-no-force", step.index, message, "leave the flag out: an app always gets its time to stop") if {
	some step in input.plan.steps
	not gentle(step)
	message := sprintf("step %d forces something", [step.index + 1])
}

deny contains violation("baseline-no-force", null, message, "leave the flag out: an app always gets its time to stop") if {
	some step in input.plan.rollback_steps
	not gentle(step)
	message := sprintf("rollback step %d forces something", [step.index + 1])
}

gentle(step) if {
	every word in split(step.command, " ") {
		not startswith(word, "--force")
		not startswith(word, "--grace-period")
		not startswith(word, "--now")
	}
}

# --- baseline-high-risk ---

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

# --- baseline-manual ---

passed contains "baseline-manual" if {
	every step in input.plan.steps {
		step.kind != "manual"
	}
}

manual contains violation("baseline-manual", step.index, step.reason, "leave it to a person, or use an action that Argus knows") if {
	some step in input.plan.steps
	step.kind == "manual"
}

# --- baseline-approval ---

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

# --- baseline-same-object: what the API server returned is the object that the plan names ---

passed contains "baseline-same-object" if {
	objects_given
	every object in input.objects {
		same_object(object)
	}
}

deny contains violation("baseline-same-object", object.step, message, "change the object that the step names") if {
	some object in input.objects
	not same_object(object)
	message := sprintf("step %d would change another object than the one that it names", [object.step + 1])
}

# Without objects there is nothing to pass, unless there is nothing to do.
objects_given if count(input.objects) > 0

objects_given if count(input.plan.steps) == 0

same_object(object) if {
	every state in states(object) {
		names_target(state, object.step)
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
states(object) := [object.before] if object.after == null

states(object) := [object.after] if object.before == null

states(object) := [object.before, object.after] if {
	object.before != null
	object.after != null
}

# --- baseline-no-escalation: nothing may do more than before ---

passed contains "baseline-no-escalation" if {
	objects_given
	every object in input.objects {
		no_more_than_before(object)
	}
}

deny contains violation("baseline-no-escalation", object.step, message, "leave security settings, host access and the service account as they are") if {
	some object in input.objects
	not no_more_than_before(object)
	message := sprintf("step %d would let the app do more than before", [object.step + 1])
}

no_more_than_before(object) if object.after == null

no_more_than_before(object) if {
	object.after != null
	object.before != null
	count(powers(object.after) - powers(object.before)) == 0
}

# What a pod of the object may do beyond the ordinary, each as a word; an object without pods has none.
powers(object) := host | containers | volumes | account if {
	spec := pod_spec(object)
	host := {field | some field in ["hostNetwork", "hostPID", "hostIPC"]; object_value(spec, field) == true}
	containers := {power |
		some list in ["containers", "initContainers", "ephemeralContainers"]
		some container in list_value(spec, list)
		some power in container_powers(container)
	}
	volumes := {sprintf("hostPath %s", [volume.hostPath.path]) | some volume in list_value(spec, "volumes"); volume.hostPath.path}
	account := {sprintf("serviceAccount %v", [object_value(spec, "serviceAccountName")])}
}

pod_spec(object) := object.spec.template.spec if object.spec.template.spec

pod_spec(object) := object.spec.jobTemplate.spec.template.spec if object.spec.jobTemplate.spec.template.spec

pod_spec(object) := object.spec if object.kind == "Pod"

pod_spec(object) := {} if object.kind in {"Service", "Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget"}

container_powers(container) := flags | capabilities | ports if {
	context := object_or_empty(container, "securityContext")
	flags := {sprintf("%s %s", [container.name, field]) |
		some field in ["privileged", "allowPrivilegeEscalation"]
		object_value(context, field) == true
	}
	capabilities := {sprintf("%s capability %s", [container.name, capability]) |
		some capability in list_value(object_or_empty(context, "capabilities"), "add")
	}
	ports := {sprintf("%s hostPort %d", [container.name, port.hostPort]) |
		some port in list_value(container, "ports")
		port.hostPort > 0
	}
}

object_value(map, field) := object.get(map, field, null)

object_or_empty(map, field) := value if {
	value := object.get(map, field, {})
	is_object(value)
} else := {}

list_value(map, field) := value if {
	value := object.get(map, field, [])
	is_array(value)
} else := []

# --- the answers ---

violation(id, step, message, hint) := {"id": id, "step": step, "message": message, "hint": hint}

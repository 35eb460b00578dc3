# METADATA
# title: Blast radius
# description: How much one plan may touch. Undoing what was begun is never stopped by it.
package argus.packs.blast_radius

import rego.v1

settings := data.argus_data.blast_radius

# METADATA
# title: A plan changes few objects
# custom:
#   id: blast-objects
passed contains "blast-objects" if few_objects

deny contains violation("blast-objects", null, message, "split the work into smaller plans, and look at each") if {
	not few_objects
	message := sprintf("the plan changes more than %d objects", [settings.most_objects])
}

# A step without a target is shown to people, it changes nothing.
few_objects if count(targets) <= settings.most_objects

targets contains step.target if {
	some step in input.plan.steps
	step.target != null
}

# METADATA
# title: A plan stays in few namespaces
# custom:
#   id: blast-namespaces
passed contains "blast-namespaces" if few_namespaces

deny contains violation("blast-namespaces", null, message, "split the work: one plan for each namespace") if {
	not few_namespaces
	message := sprintf("the plan changes objects in more than %d namespaces", [settings.most_namespaces])
}

few_namespaces if count({target.namespace | some target in targets}) <= settings.most_namespaces

# METADATA
# title: A plan deletes few pods
# custom:
#   id: blast-deleted-pods
passed contains "blast-deleted-pods" if few_deleted

deny contains violation("blast-deleted-pods", null, message, "restart the workload instead: it replaces its pods one after another") if {
	not few_deleted
	message := sprintf("the plan deletes more than %d pods", [settings.most_deleted_pods])
}

few_deleted if count([step | some step in input.plan.steps; step.kind == "delete_pod"]) <= settings.most_deleted_pods

# METADATA
# title: Most copies of a workload stay
# custom:
#   id: blast-percent
passed contains "blast-percent" if {
	objects_given
	count(shrunk) == 0
}

deny contains violation("blast-percent", step, message, "take copies away in smaller steps, and look at each") if {
	some step in shrunk
	message := sprintf("step %d would take away more than %d percent of the copies", [step + 1, settings.most_percent])
}

shrunk contains result.step if {
	some result in input.objects
	result.before.spec.replicas > 0
	not most_stay(result)
}

most_stay(result) if result.after == null

# To stop all of them is high risk: the baseline's to judge.
most_stay(result) if result.after.spec.replicas == 0

most_stay(result) if {
	result.after.spec.replicas != 0
	taken := result.before.spec.replicas - result.after.spec.replicas
	taken * 100 <= result.before.spec.replicas * settings.most_percent
}

# METADATA
# title: Protected objects are never changed
# custom:
#   id: blast-protected
passed contains "blast-protected" if {
	objects_given
	count(guarded) == 0
}

deny contains violation("blast-protected", step, message, "leave it to the people who protected it") if {
	some [step, label, value] in guarded
	message := sprintf("step %d would change an object that the label %s=%s protects", [step + 1, label, value])
}

guarded contains [result.step, label, value] if {
	some result in input.objects
	some label, value in settings.protected_labels
	result.before.metadata.labels[label] == value
}

# METADATA
# title: What did not help is not done again at once
# custom:
#   id: blast-again
passed contains "blast-again" if {
	every step in input.plan.steps {
		is_new(step)
	}
}

deny contains violation("blast-again", step.index, message, hint) if {
	some step in input.plan.steps
	not is_new(step)
	message := sprintf("step %d was tried less than %d minutes ago and did not help", [step.index + 1, settings.again_minutes])
	hint := sprintf("do something else, such as the same with another value, or wait %d minutes", [settings.again_minutes])
}

is_new(step) if {
	every attempt in input.history {
		says_nothing(attempt, step)
	}
}

says_nothing(attempt, _) if attempt.recovery == "resolved"

says_nothing(attempt, _) if attempt.minutes_ago >= settings.again_minutes

says_nothing(attempt, step) if not step.command in {tried.command | some tried in attempt.steps; not tried.written == false}

# Without objects there is nothing to pass, unless there is nothing to do.
objects_given if count(input.objects) > 0

objects_given if count(input.plan.steps) == 0

violation(id, step, message, hint) := {"id": id, "step": step, "message": message, "hint": hint}

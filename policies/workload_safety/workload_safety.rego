# METADATA
# title: Workload safety
# description: |
#   What a fix may leave of a workload, judged on the object before and after the dry run: a patch can't smuggle it in. What
#   the object had before may stay; undoing a step is never stopped by these rules. Privileged containers, capabilities, host
#   access and service accounts are the baseline's.
package argus.packs.workload_safety

import rego.v1

settings := data.argus_data.workload_safety

# METADATA
# title: New images come from the registries that the host lists
# custom:
#   id: workload-registries
passed contains "workload-registries" if {
	objects_given
	count(foreign_images) == 0
}

deny contains violation("workload-registries", step, message, "use an image of a registry that the host lists") if {
	some [step, image] in foreign_images
	message := sprintf("step %d would run the image %s, which is from none of the registries that the host lists", [step + 1, image])
}

foreign_images contains [changed.step, image] if {
	settings.registries != null
	some changed in changes
	some image in (images(changed.after) - images(changed.before))
	not strings.any_prefix_match(image, settings.registries)
}

images(spec) := {container.image | some container in containers(spec)}

# METADATA
# title: Nothing runs as root that didn't before
# custom:
#   id: workload-root
passed contains "workload-root" if {
	objects_given
	count(new_roots) == 0
}

deny contains violation("workload-root", step, message, "leave `runAsUser` and `runAsNonRoot` as they are") if {
	some [step, name] in new_roots
	message := sprintf("step %d would let the container %s run as root", [step + 1, name])
}

new_roots contains [changed.step, name] if {
	some changed in changes
	some [name, _] in (roots(changed.after) - roots(changed.before))
}

# The containers that ask for root, and those that don't refuse it.
roots(spec) := asked | unguarded if {
	pod := object.get(spec, "securityContext", {})
	asked := {[container.name, "asked"] |
		some container in containers(spec)
		setting(container, pod, "runAsUser") == 0
	}
	unguarded := {[container.name, "unguarded"] |
		some container in containers(spec)
		setting(container, pod, "runAsNonRoot") != true
	}
}

# A container's own setting counts before its pod's.
setting(container, pod, field) := object.get(object.get(container, "securityContext", {}), field, object.get(pod, field, null))

# METADATA
# title: The number of copies stays within the host's bounds
# custom:
#   id: workload-replicas
passed contains "workload-replicas" if {
	objects_given
	count(bad_numbers) == 0
}

deny contains violation("workload-replicas", step, message, hint) if {
	some [step, number] in bad_numbers
	message := sprintf("step %d would ask for %v copies", [step + 1, number])
	hint := sprintf("stay between %d and %d copies", [settings.fewest_replicas, settings.most_replicas])
}

bad_numbers contains [result.step, number] if {
	some result in input.objects
	result.after != null
	some field in ["replicas", "minReplicas", "maxReplicas"]
	number := result.after.spec[field]
	number != object.get(spec_of(result.before), field, null)
	not number_fits(number)
}

number_fits(number) if {
	number >= settings.fewest_replicas
	number <= settings.most_replicas
}

spec_of(state) := object.get(state, "spec", {}) if state != null

spec_of(null) := {}

# METADATA
# title: Limits and requests stay within the host's bounds, and no limit is taken away
# custom:
#   id: workload-resources
passed contains "workload-resources" if {
	objects_given
	count(bad_amounts) == 0
}

deny contains violation("workload-resources", step, message, hint) if {
	some [step, what] in bad_amounts
	message := sprintf("step %d would %s", [step + 1, what])
	hint := sprintf("keep every limit, and ask for at most %s CPU and %s of memory for one container", [settings.most_cpu, settings.most_memory])
}

bad_amounts contains [changed.step, sprintf("give the container %s a %s of %s", [name, what, text])] if {
	some changed in changes
	some [name, list, what, text] in (amounts(changed.after) - amounts(changed.before))
	not amount_fits(what, text)
}

# An earlier revision comes back as it was.
bad_amounts contains [changed.step, sprintf("take the %s limit of the container %s away", [what, name])] if {
	some changed in changes
	not goes_back(changed.step)
	some [name, what] in (limited(changed.before) - limited(changed.after))
	some container in containers(changed.after)
	container.name == name
}

amounts(spec) := {[container.name, list, what, text] |
	some container in containers(spec)
	some list in ["limits", "requests"]
	some what, text in object.get(object.get(container, "resources", {}), list, {})
}

limited(spec) := {[name, what] | some [name, list, what, _] in amounts(spec); list == "limits"}

amount_fits("cpu", text) if units.parse(text) <= units.parse(settings.most_cpu)

amount_fits("memory", text) if units.parse_bytes(text) <= units.parse_bytes(settings.most_memory)

amount_fits(what, _) if not what in {"cpu", "memory"}

# METADATA
# title: A workload goes on with the pods that it has
# custom:
#   id: workload-selectors
passed contains "workload-selectors" if {
	objects_given
	count(moved_selectors) == 0
}

deny contains violation("workload-selectors", step, message, "leave `spec.selector` as it is") if {
	some step in moved_selectors
	message := sprintf("step %d would let the workload lose its pods", [step + 1])
}

moved_selectors contains result.step if {
	some result in input.objects
	result.after != null
	result.after.kind in {"Deployment", "StatefulSet", "DaemonSet"}
	object.get(spec_of(result.after), "selector", null) != object.get(spec_of(result.before), "selector", null)
}

# METADATA
# title: No probe is taken away
# custom:
#   id: workload-probes
passed contains "workload-probes" if {
	objects_given
	count(lost_probes) == 0
}

deny contains violation("workload-probes", step, message, "mend the probe instead of taking it away") if {
	some [step, name, probe] in lost_probes
	message := sprintf("step %d would take the %s of the container %s away", [step + 1, probe, name])
}

lost_probes contains [changed.step, name, probe] if {
	some changed in changes
	not goes_back(changed.step)
	some [name, probe] in (probes(changed.before) - probes(changed.after))
}

probes(spec) := {[container.name, probe] |
	some container in containers(spec)
	some probe in ["livenessProbe", "readinessProbe", "startupProbe"]
	object.get(container, probe, null) != null
}

goes_back(step) if input.plan.steps[step].kind == "rollout_undo"

# Without objects there is nothing to pass, unless there is nothing to do.
objects_given if count(input.objects) > 0

objects_given if count(input.plan.steps) == 0

# The steps that change what pods are made of.
changes contains {"step": result.step, "before": before, "after": after} if {
	some result in input.objects
	result.after != null
	before := pod_spec(result.before)
	after := pod_spec(result.after)
	before != after
}

pod_spec(state) := object.get(state, ["spec", "jobTemplate", "spec", "template", "spec"], {}) if state.kind == "CronJob"

pod_spec(state) := object.get(state, "spec", {}) if state.kind == "Pod"

pod_spec(state) := object.get(state, ["spec", "template", "spec"], {}) if {
	state != null
	not state.kind in {"CronJob", "Pod"}
}

pod_spec(null) := {}

containers(spec) := array.concat(object.get(spec, "containers", []), object.get(spec, "initContainers", []))

violation(id, step, message, hint) := {"id": id, "step": step, "message": message, "hint": hint}

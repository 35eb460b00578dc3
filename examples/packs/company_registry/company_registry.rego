# METADATA
# title: Company registry
# description: |
#   A `set image` may name only images of the registries in `data.json`, and no step may leave a workload that runs another
#   image than it ran before, unless it is one of theirs: a patch can't smuggle one in.
package argus.packs.company_registry

import rego.v1

registries := data.argus_data.company_registry.registries

ours(image) if {
	some registry in registries
	startswith(image, registry)
}

# METADATA
# title: A command names images of the company only
# custom:
#   id: registry-of-commands
passed contains "registry-of-commands" if {
	every step in input.plan.steps {
		every image in step.images {
			ours(image)
		}
	}
}

deny contains {
	"id": "registry-of-commands", "step": step.index,
	"message": sprintf("step %d uses the image %s, which is not from a registry of the company", [step.index + 1, image]),
	"hint": sprintf("use an image of %s", [concat(" or ", registries)]),
} if {
	some step in input.plan.steps
	some image in step.images
	not ours(image)
}

# METADATA
# title: No step brings another image in
# custom:
#   id: registry-of-results
passed contains "registry-of-results" if {
	objects_given
	count(foreign) == 0
}

deny contains {
	"id": "registry-of-results", "step": step,
	"message": sprintf("step %d would run the image %s, which is not from a registry of the company", [step + 1, image]),
	"hint": sprintf("use an image of %s", [concat(" or ", registries)]),
} if {
	objects_given
	some [step, image] in foreign
}

# Without objects there is nothing to pass, unless there is nothing to do.
objects_given if count(input.objects) > 0

objects_given if count(input.plan.steps) == 0

foreign contains [result.step, image] if {
	some result in input.objects
	some image in (images(result.after) - images(result.before))
	not ours(image)
}

# The images of a workload's pods; an object without pods, or a deleted one, has none.
images(workload) := {container.image |
	some list in ["containers", "initContainers", "ephemeralContainers"]
	some spec in pod_specs(workload)
	some container in object.get(spec, list, [])
}

pod_specs(workload) := {spec |
	is_object(workload)
	some path in [["spec", "template", "spec"], ["spec", "jobTemplate", "spec", "template", "spec"], ["spec"]]
	spec := object.get(workload, path, {})
}

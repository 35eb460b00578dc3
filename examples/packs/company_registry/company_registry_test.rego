package argus.packs.company_registry

import rego.v1

plan(images) := {"plan": {"steps": [{"index": 0, "images": images}]}, "objects": []}

ids(set) := {one.id | some one in set}

test_images_of_the_company_pass if {
	passed == {"registry-of-commands"} with input as plan({"app": "registry.example.com/web:2", "side": "mirror.example.com/x"})
	count(deny) == 0 with input as plan({"app": "registry.example.com/web:2"})
}

test_one_foreign_image_among_good_ones_is_denied if {
	images := {"app": "registry.example.com/web:2", "side": "docker.io/miner"}
	ids(deny) == {"registry-of-commands"} with input as plan(images)
}

test_a_name_that_only_begins_alike_is_foreign if {
	ids(deny) == {"registry-of-commands"} with input as plan({"app": "registry.example.com.evil.example/web"})
}

web(image) := {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}

outcome(before, after) := object.union(plan({}), {"objects": [{"step": 0, "before": before, "after": after}]})

test_a_patch_can_not_smuggle_an_image_in if {
	input_document := outcome(web("registry.example.com/web:1"), web("docker.io/miner"))
	ids(deny) == {"registry-of-results"} with input as input_document
	not "registry-of-results" in passed with input as input_document
}

test_what_ran_before_may_go_on if {
	"registry-of-results" in passed with input as outcome(web("docker.io/old"), web("docker.io/old"))
	"registry-of-results" in passed with input as outcome(web("docker.io/old"), null)
	"registry-of-results" in passed with input as outcome(web("docker.io/old"), web("registry.example.com/web:2"))
}

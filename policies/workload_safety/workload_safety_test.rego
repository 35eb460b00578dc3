package argus.packs.workload_safety

import rego.v1

# A result of one step; the rules read no more of an input than this.
outcome(before, after) := {
	"plan": {"steps": [{"index": 0, "kind": "patch"}]},
	"objects": [{"step": 0, "before": before, "after": after}],
}

web(spec) := {"kind": "Deployment", "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": spec}}}

# A container with these fields in place of its own.
app(fields) := {"containers": [with_fields(
	{
		"name": "app", "image": "registry.example.com/web:1",
		"securityContext": {"runAsNonRoot": true},
		"resources": {"limits": {"memory": "1Gi", "cpu": "500m"}},
		"readinessProbe": {"httpGet": {"path": "/"}},
	},
	fields,
)]}

with_fields(container, fields) := object.union(object.remove(container, object.keys(fields)), fields)

plain := web(app({}))

ids(set) := {one.id | some one in set}

every_rule := {
	"workload-registries", "workload-root", "workload-replicas", "workload-resources", "workload-selectors",
	"workload-probes",
}

test_what_stays_passes if {
	passed == every_rule with input as outcome(plain, plain)
	passed == every_rule with input as outcome(plain, null)
	passed == every_rule with input as outcome(plain, web(app({"image": "docker.io/other:2"})))
	passed == every_rule with input as {"plan": {"steps": []}, "objects": []}
	count(deny) == 0 with input as outcome(plain, plain)
}

test_without_objects_nothing_passes if {
	count(passed) == 0 with input as {"plan": {"steps": [{"index": 0, "kind": "patch"}]}, "objects": []}
}

test_images_of_other_registries if {
	listed := object.union(settings, {"registries": ["registry.example.com/"]})
	foreign := outcome(plain, web(app({"image": "docker.io/miner"})))
	ids(deny) == {"workload-registries"} with input as foreign with data.argus_data.workload_safety as listed
	own := outcome(plain, web(app({"image": "registry.example.com/web:2"})))
	"workload-registries" in passed with input as own with data.argus_data.workload_safety as listed
	old := web(app({"image": "docker.io/old"}))
	"workload-registries" in passed with input as outcome(old, old) with data.argus_data.workload_safety as listed
}

test_nothing_becomes_root if {
	every context in [{"runAsUser": 0}, {"runAsNonRoot": false}] {
		ids(deny) == {"workload-root"} with input as outcome(plain, web(app({"securityContext": context})))
	}
	"workload-root" in passed with input as outcome(plain, web({
		"securityContext": {"runAsNonRoot": true},
		"containers": [object.remove(app({}).containers[0], ["securityContext"])],
	}))
	rooted := web(app({"securityContext": {"runAsUser": 0, "runAsNonRoot": false}}))
	"workload-root" in passed with input as outcome(rooted, rooted)
}

copies(number) := object.union(plain, {"spec": {"replicas": number}})

test_the_number_of_copies_is_bounded if {
	ids(deny) == {"workload-replicas"} with input as outcome(plain, copies(101))
	few := object.union(settings, {"fewest_replicas": 2})
	ids(deny) == {"workload-replicas"} with input as outcome(plain, copies(1)) with data.argus_data.workload_safety as few
	count(deny) == 0 with input as outcome(plain, copies(0))
	count(deny) == 0 with input as outcome(plain, copies(100))
	count(deny) == 0 with input as outcome(copies(101), copies(101))
	ids(deny) == {"workload-replicas"} with input as outcome(autoscaler(5), autoscaler(500))
}

autoscaler(most) := {"kind": "HorizontalPodAutoscaler", "spec": {"minReplicas": 1, "maxReplicas": most}}

limits(amounts) := web(app({"resources": {"limits": amounts}}))

test_amounts_are_bounded if {
	count(deny) == 0 with input as outcome(plain, limits({"memory": "128Gi", "cpu": "32"}))
	ids(deny) == {"workload-resources"} with input as outcome(plain, limits({"memory": "129Gi", "cpu": "1"}))
	ids(deny) == {"workload-resources"} with input as outcome(plain, limits({"memory": "1Gi", "cpu": "32001m"}))
	count(deny) == 0 with input as outcome(plain, limits({"memory": "1Gi", "cpu": "1", "ephemeral-storage": "900Gi"}))
}

unlimited := web({"containers": [object.remove(app({}).containers[0], ["resources"])]})

test_no_limit_is_taken_away if {
	ids(deny) == {"workload-resources"} with input as outcome(plain, unlimited)
	undo := object.union(outcome(plain, unlimited), {"plan": {"steps": [{"index": 0, "kind": "rollout_undo"}]}})
	count(deny) == 0 with input as undo
}

test_a_container_that_goes_takes_its_limits_along if {
	two := web({"containers": array.concat(app({}).containers, [{"name": "side", "resources": {"limits": {"memory": "1Gi"}}}])})
	count(deny) == 0 with input as outcome(two, plain)
}

test_a_new_object_is_judged_as_a_whole if {
	ids(deny) == {"workload-selectors"} with input as outcome(null, plain)
}

test_selectors_stay if {
	moved := object.union(plain, {"spec": {"selector": {"matchLabels": {"app": "other"}}}})
	ids(deny) == {"workload-selectors"} with input as outcome(plain, moved)
	count(deny) == 0 with input as outcome(frontend("wbe"), frontend("web"))
}

frontend(app) := {"kind": "Service", "spec": {"selector": {"app": app}}}

unprobed := web({"containers": [object.remove(app({}).containers[0], ["readinessProbe"])]})

test_probes_stay if {
	ids(deny) == {"workload-probes"} with input as outcome(plain, unprobed)
	count(deny) == 0 with input as outcome(unprobed, plain)
	undo := object.union(outcome(plain, unprobed), {"plan": {"steps": [{"index": 0, "kind": "rollout_undo"}]}})
	count(deny) == 0 with input as undo
}

test_cron_jobs_and_pods_are_looked_into if {
	ids(deny) == {"workload-root"} with input as outcome(job(app({})), job(app({"securityContext": {"runAsUser": 0}})))
	ids(deny) == {"workload-root"} with input as outcome(pod(app({})), pod(app({"securityContext": {"runAsUser": 0}})))
}

job(spec) := {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}

pod(spec) := {"kind": "Pod", "spec": spec}

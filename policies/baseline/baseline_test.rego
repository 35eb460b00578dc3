package argus.packs.baseline

import rego.v1

# One low-risk scale in scope, as Argus writes it.
plan := data.argus_test.plan

# The same with other fields of the document, and with other fields of its step.
plan_with(fields) := object.union(plan, fields)

step_with(fields) := object.union(plan, {"plan": {"steps": [object.union(plan.plan.steps[0], fields)]}})

rollback_with(fields) := object.union(plan, {"plan": {"rollback_steps": [object.union(plan.plan.rollback_steps[0], fields)]}})

ids(set) := {one.id | some one in set}

test_a_harmless_plan_passes_every_rule if {
	count(deny) == 0 with input as plan
	count(require_approval) == 0 with input as plan
	count(manual) == 0 with input as plan
	passed == {
		"baseline-size", "baseline-actions", "baseline-kinds", "baseline-scope", "baseline-no-force",
		"baseline-high-risk", "baseline-never", "baseline-listed", "baseline-manual", "baseline-approval",
		"baseline-other-app",
	} with input as plan
}

test_too_many_steps if {
	steps := [object.union(plan.plan.steps[0], {"index": index}) | some index in numbers.range(0, 10)]
	"baseline-size" in ids(deny) with input as plan_with({"plan": {"steps": steps}})
}

test_an_unknown_action if {
	"baseline-actions" in ids(deny) with input as step_with({"kind": "exec"})
}

test_a_kind_that_is_not_on_the_list if {
	"baseline-kinds" in ids(deny) with input as step_with({"target": {"kind": "Secret"}})
}

test_a_rollback_is_judged_too if {
	"baseline-kinds" in ids(deny) with input as rollback_with({"target": {"kind": "Secret"}})
	"baseline-no-force" in ids(deny) with input as rollback_with({"command": "kubectl delete pod/web-1 -n shop --now"})
}

test_another_namespace if {
	"baseline-scope" in ids(deny) with input as step_with({"target": {"namespace": "kube-system"}})
	"baseline-scope" in ids(deny) with input as rollback_with({"target": {"namespace": "kube-system"}})
}

test_nothing_is_forced if {
	every flag in ["--force", "--force=true", "--grace-period=0", "--now"] {
		command := sprintf("kubectl delete pod/web-1 -n shop %s", [flag])
		"baseline-no-force" in ids(deny) with input as step_with({"command": command})
	}
}

test_high_risk_needs_the_switch if {
	"baseline-high-risk" in ids(deny) with input as plan_with({"plan": {"risk_level": "high"}})
	count(deny) == 0 with input as plan_with({"plan": {"risk_level": "high"}, "settings": {"allow_high_risk": true}})
}

test_what_people_do_by_hand_may_be_high_risk if {
	manual_step := object.union(plan.plan.steps[0], {"kind": "manual", "target": null, "reason": "r", "fields": []})
	every steps in [[], [manual_step], [manual_step, plan.plan.steps[0]]] {
		"baseline-high-risk" in passed with input as plan_with({"plan": {"risk_level": "high", "steps": steps}})
	}
	stops := object.union(plan.plan.steps[0], {"risk": "high"})
	"baseline-high-risk" in ids(deny) with input as plan_with({"plan": {"risk_level": "high", "steps": [manual_step, stops]}})
}

listed_field := plan.plan.steps[0].fields[0]

test_what_is_never_changed if {
	secret := object.union(listed_field, {"listed": false, "risk": "high", "never": true})
	refused := step_with({"fields": [listed_field, secret]})
	"baseline-never" in ids(deny) with input as refused
	"baseline-never" in ids(deny) with input as object.union(refused, {"settings": {"allow_high_risk": true}})
}

test_what_is_not_on_the_table if {
	unlisted := step_with({"fields": [listed_field, object.union(listed_field, {"listed": false, "risk": "high"})]})
	"baseline-listed" in ids(deny) with input as unlisted
	count(deny) == 0 with input as object.union(unlisted, {"settings": {"allow_high_risk": true}})
	"baseline-listed" in ids(deny) with input as step_with({"fields": [object.union(listed_field, {"listed": false})]})
}

test_another_app_needs_a_person if {
	ids(require_approval) == {"baseline-other-app"} with input as step_with({"of_incident": false})
	ids(require_approval) == {"baseline-other-app"} with input as step_with({"of_incident": null})
}

test_manual_steps_are_left_to_people if {
	ids(manual) == {"baseline-manual"} with input as step_with({"kind": "manual", "target": null, "reason": "nodes are never changed"})
}

test_medium_risk_and_removals_need_a_person if {
	ids(require_approval) == {"baseline-approval"} with input as plan_with({"plan": {"risk_level": "medium"}})
	ids(require_approval) == {"baseline-approval"} with input as step_with({"is_destructive": true})
}

web(spec) := {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": {"spec": spec}}}

outcome(before, after) := object.union(plan, {"phase": "objects", "objects": [{"step": 0, "before": before, "after": after}]})

plain := {"containers": [{"name": "app", "image": "web:1"}]}

test_a_plain_result_passes if {
	count(deny) == 0 with input as outcome(web(plain), web(plain))
	{"baseline-same-object", "baseline-no-escalation"} - passed == set() with input as outcome(web(plain), web(plain))
}

test_pods_and_cron_jobs_are_looked_into if {
	more := {"containers": [{"name": "app", "securityContext": {"privileged": true}}]}
	every pair in [
		[pod(plain), pod(more)],
		[cron_job(plain), cron_job(more)],
	] {
		"baseline-no-escalation" in ids(deny) with input as outcome(pair[0], pair[1])
		"baseline-no-escalation" in passed with input as outcome(pair[0], pair[0])
	}
}

pod(spec) := {"kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}

cron_job(spec) := {"kind": "CronJob", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}

test_objects_without_pods_have_no_powers if {
	service := {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {}}}
	"baseline-no-escalation" in passed with input as outcome(service, service)
	odd := web({"containers": [{"name": "app", "securityContext": "odd", "ports": "odd"}]})
	"baseline-no-escalation" in passed with input as outcome(web(plain), odd)
}

test_an_object_that_is_gone_does_nothing if {
	{"baseline-same-object", "baseline-no-escalation"} - passed == set() with input as outcome(web(plain), null)
	{"baseline-same-object"} - passed == set() with input as outcome(null, web(plain))
	"baseline-no-escalation" in ids(deny) with input as outcome(null, web(plain))
}

test_the_result_is_another_object if {
	other := object.union(web(plain), {"metadata": {"name": "other"}})
	"baseline-same-object" in ids(deny) with input as outcome(web(plain), other)
}

test_a_result_that_may_do_more if {
	every more in [
		{"hostNetwork": true, "containers": [{"name": "app"}]},
		{"serviceAccountName": "admin", "containers": [{"name": "app"}]},
		{"containers": [{"name": "app", "securityContext": {"privileged": true}}]},
		{"containers": [{"name": "app", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
		{"containers": [{"name": "app"}], "volumes": [{"name": "root", "hostPath": {"path": "/"}}]},
	] {
		"baseline-no-escalation" in ids(deny) with input as outcome(web(plain), web(more))
	}
}

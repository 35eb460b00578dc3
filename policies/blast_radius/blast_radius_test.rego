package argus.packs.blast_radius

import rego.v1

deployment(namespace, name) := {"kind": "Deployment", "namespace": namespace, "name": name}

plan(targets) := {
	"plan": {"steps": [{"index": index, "kind": "scale", "target": target} | some index, target in targets]},
	"objects": [],
	"history": [],
}

ids(set) := {one.id | some one in set}

test_a_small_plan_passes if {
	{"blast-objects", "blast-namespaces", "blast-deleted-pods"} - passed == set() with input as plan([deployment("shop", "web"), null])
	count(deny) == 0 with input as plan([deployment("shop", "web")])
}

test_too_many_objects if {
	many := [deployment("shop", name) | some name in ["a", "b", "c", "d", "e", "f"]]
	ids(deny) == {"blast-objects"} with input as plan(many)
	not "blast-objects" in passed with input as plan(many)
	count(deny) == 0 with input as plan(array.slice(many, 0, 5))
}

test_too_many_namespaces if {
	spread := [deployment(namespace, "web") | some namespace in ["a", "b", "c"]]
	ids(deny) == {"blast-namespaces"} with input as plan(spread)
	count(deny) == 0 with input as plan(array.slice(spread, 0, 2))
}

deletes(names) := {"plan": {"steps": [{"kind": "delete_pod", "target": deployment("shop", name)} | some name in names]}, "objects": [], "history": []}

test_too_many_deleted_pods if {
	ids(deny) == {"blast-deleted-pods"} with input as deletes(["a", "b", "c", "d"])
	not "blast-deleted-pods" in passed with input as deletes(["a", "b", "c", "d"])
	"blast-deleted-pods" in passed with input as deletes(["a", "b", "c"])
}

outcome(before, after) := object.union(plan([deployment("shop", "web")]), {"objects": [{"step": 0, "before": before, "after": after}]})

copies(number) := {"metadata": {"labels": {}}, "spec": {"replicas": number}}

test_most_copies_stay if {
	ids(deny) == {"blast-percent"} with input as outcome(copies(4), copies(1))
	not "blast-percent" in passed with input as outcome(copies(4), copies(1))
	every after in [0, 2, 4, 9] {
		"blast-percent" in passed with input as outcome(copies(4), copies(after))
	}
	"blast-percent" in passed with input as outcome(copies(0), copies(1))
	"blast-percent" in passed with input as outcome(copies(4), null)
	"blast-percent" in passed with input as outcome({"kind": "Service"}, {"kind": "Service"})
	ids(deny) == {"blast-percent"} with input as outcome(copies(4), {"spec": {}})
}

test_protected_objects_are_left_alone if {
	guarded_one := {"metadata": {"labels": {"argus.dev/protected": "true", "app": "web"}}}
	ids(deny) == {"blast-protected"} with input as outcome(guarded_one, guarded_one)
	not "blast-protected" in passed with input as outcome(guarded_one, guarded_one)
	"blast-protected" in passed with input as outcome({"metadata": {"labels": {"argus.dev/protected": "false"}}}, {})
}

test_without_objects_the_results_are_not_judged if {
	not "blast-percent" in passed with input as plan([deployment("shop", "web")])
	"blast-percent" in passed with input as plan([])
	"blast-protected" in passed with input as plan([])
}

again(step, attempt) := {
	"plan": {"steps": [{"index": 0, "kind": "scale", "target": deployment("shop", "web"), "command": step}]},
	"objects": [],
	"history": [attempt],
}

attempted(minutes, command, written, recovery) := {"minutes_ago": minutes, "steps": [{"command": command, "written": written}], "recovery": recovery}

test_what_did_not_help_is_not_done_again_at_once if {
	every recovery in ["persists", "relapsed", "regressed", "reverted", "vanished", "inconclusive", "unproven", null] {
		tried := attempted(30, "a", true, recovery)
		ids(deny) == {"blast-again"} with input as again("a", tried)
		not "blast-again" in passed with input as again("a", tried)
		"blast-again" in passed with input as again("b", tried)
	}
	ids(deny) == {"blast-again"} with input as again("a", attempted(0, "a", true, "persists"))
}

test_what_helped_or_was_never_done_or_long_ago_may_be_done_again if {
	"blast-again" in passed with input as again("a", attempted(30, "a", true, "resolved"))
	"blast-again" in passed with input as again("a", attempted(30, "a", false, "persists"))
	"blast-again" in passed with input as again("a", attempted(60, "a", true, "persists"))
}

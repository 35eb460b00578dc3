package argus.packs.team_namespaces

import rego.v1

plan(namespaces) := {"plan": {"steps": [{"index": index, "kind": "scale", "target": {"namespace": namespace}} |
	some index, namespace in namespaces
]}}

ids(set) := {one.id | some one in set}

test_own_namespaces_pass if {
	passed == {"team-protected", "team-foreign"} with input as plan(["shop", "shop-staging"])
	count(deny | require_approval) == 0 with input as plan(["shop"])
}

test_another_team_has_to_say_yes if {
	ids(require_approval) == {"team-foreign"} with input as plan(["shop", "search"])
	count(deny) == 0 with input as plan(["search"])
}

test_a_protected_namespace_is_denied if {
	ids(deny) == {"team-protected"} with input as plan(["shop", "payments"])
	not "team-protected" in passed with input as plan(["shop", "payments"])
}

test_a_step_without_a_namespace_does_not_pass if {
	count(passed) == 0 with input as {"plan": {"steps": [{"index": 0, "kind": "scale", "target": null}]}}
}

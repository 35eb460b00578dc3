//! A name becomes the folder of a pack that passes its tests: one rule, which every author replaces.

use std::path::Path;

const MANIFEST: &str = "\
name: NAME
version: 0.1.0
description: Says in one sentence what this pack refuses, and for whom.
# A JSON Schema of data.json: a host may set other values, if they fit.
parameters:
  type: object
  additionalProperties: false
  required: [most_copies]
  properties:
    most_copies: {type: integer, minimum: 1}
# Each rule is asked in these phases, about plans with such an action; without `actions` about every plan.
rules:
  - {id: NAME-copies, phases: [plan, objects, undo], actions: [scale]}
";

const RULES: &str = r#"# METADATA
# title: NAME
# description: Apps run at most as many copies as `data.json` says.
package argus.packs.NAME

import rego.v1

most := data.argus_data.NAME.most_copies

# METADATA
# title: Apps run few copies
# custom:
#   id: NAME-copies
passed contains "NAME-copies" if {
	every step in input.plan.steps {
		few_copies(step)
	}
}

# The condition for passing stands above: what can't be told doesn't pass. Here stands who is at fault, and what to do.
deny contains {
	"id": "NAME-copies", "step": step.index,
	"message": sprintf("step %d would run more than %d copies", [step.index + 1, most]),
	"hint": sprintf("ask for %d copies or fewer", [most]),
} if {
	some step in input.plan.steps
	not few_copies(step)
}

few_copies(step) if step.kind != "scale"

few_copies(step) if {
	step.kind == "scale"
	step.replicas <= most
}
"#;

const DATA: &str = "{\"most_copies\": 5}\n";

const TESTS: &str = r#"package argus.packs.NAME

import rego.v1

# Parts of an input are enough for a rule that reads no more. `argus-policy input --plan plan.json -n shop` prints a whole
# one: keep it as `NAME_test.json`, and it is here as `data.argus_test.NAME`.
scale(replicas) := {"plan": {"steps": [{"index": 0, "kind": "scale", "replicas": replicas}]}}

test_a_few_copies_pass if {
	passed == {"NAME-copies"} with input as scale(5)
	count(deny) == 0 with input as scale(5)
}

test_too_many_copies_are_denied if {
	ids := {violation.id | some violation in deny} with input as scale(6)
	ids == {"NAME-copies"}
	count(passed) == 0 with input as scale(6)
}

test_one_bad_step_among_good_ones_is_found if {
	steps := [{"index": 0, "kind": "rollout_restart"}, {"index": 1, "kind": "scale", "replicas": 100}]
	indexes := {violation.step | some violation in deny} with input as {"plan": {"steps": steps}}
	indexes == {1}
}
"#;

pub(super) fn write(name: &str, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let named = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !named {
        return Err(format!(
            "`{name}` is no name for a pack: use lower-case letters, digits and `_`"
        )
        .into());
    }
    if folder.exists() {
        return Err(format!(
            "`{}` is there already: nothing was written",
            folder.display()
        )
        .into());
    }
    std::fs::create_dir_all(folder)?;
    for (file, text) in [
        ("pack.yaml".to_owned(), MANIFEST),
        (format!("{name}.rego"), RULES),
        (format!("{name}_test.rego"), TESTS),
        ("data.json".to_owned(), DATA),
    ] {
        std::fs::write(folder.join(file), text.replace("NAME", name))?;
    }
    Ok(())
}

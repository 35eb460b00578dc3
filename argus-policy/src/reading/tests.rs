//! What this reader is sure of, the engine says as well: of rules that nobody wrote by hand, about values of every shape.

use std::cell::Cell;
use std::sync::Arc;

use argus_core::{Completion, IncidentId, Plan, PolicyInput, Scope, Settings};
use proptest::prelude::*;
use proptest::sample::select;
use regorus::Value;
use serde_json::{Map, json};

use super::Reading;
use crate::engine::{Answers, WATCHED, agree, evaluate};
use crate::pack::{Body, File, Pack};
use crate::rules::Rules;

/// What every rule here may call.
const HELPERS: &str = r#"
seven := 7

words := {"a", "b"}

large contains item if {
	some item in value.list
	item > 1
}

is_short(text) if count(text) < 3

is_short(text) if text == "three"

kind("a") := "letter"

kind(7) := "number"

kind(_) := "letter" if false

first(list) := list[0] if {
	count(list) > 0
} else := "none"

both(x) := 1 if x > 0

both(x) := 2 if x > 0

listed if value.list

named if {
	some field in ["a", "b"]
	value[field] == "x"
}
"#;

/// A pack whose only rule passes if one body holds, and objects twice if another one does.
fn pack(passing: &str, objecting: &str) -> Result<Pack, String> {
    let rego = format!(
        "package argus.packs.p\n\nimport rego.v1\n\nvalue := input.time\n{HELPERS}\n# METADATA\n# title: T\n# custom:\n#   id: p-rule\n\
         passed contains \"p-rule\" if {{\n{passing}\n}}\n\n\
         deny contains {{\"id\": \"p-rule\", \"step\": null, \"message\": word, \"hint\": \"h\"}} if {{\n{objecting}\n\tsome word in words\n}}\n"
    );
    let manifest =
        "name: p\nversion: 1.0.0\ndescription: d\nrules:\n  - {id: p-rule, phases: [plan]}\n";
    let file = |name: &str, text: String| File {
        name: name.into(),
        text,
    };
    let files = vec![file("pack.yaml", manifest.into()), file("p.rego", rego)];
    Pack::compile("p", files, &Map::new(), false).map_err(|error| error.to_string())
}

fn rules(pack: &Pack) -> &Rules {
    match &pack.body {
        Body::Rules(rules) => rules,
        Body::Template(_) => panic!("it is no template"),
    }
}

fn reads(rules: &Rules, input: &Value) -> Option<Answers> {
    Reading::new(rules.shortcut.as_ref()?, input).says(0)
}

fn input(value: &serde_json::Value) -> Value {
    Value::from(json!({ "time": value }))
}

/// Whether this reader is sure; what it is sure of has to be what the engine says.
#[track_caller]
fn check(passing: &str, objecting: &str, value: serde_json::Value, sure: bool) {
    let pack = pack(passing, objecting);
    assert!(pack.is_ok(), "{passing}: {:?}", pack.as_ref().err());
    let Ok(pack) = pack else { return };
    let (rules, input) = (rules(&pack), input(&value));
    let read = reads(rules, &input);
    let place = format!("{passing} | {objecting}: {value}");
    assert_eq!(read.is_some(), sure, "{place}: {read:?}");
    if let (Some(read), Some((_, question))) = (read, rules.first()) {
        assert_eq!(evaluate(rules, question, &input), Ok(read), "{place}");
    }
}

#[test]
fn what_is_plain_is_read() {
    let value =
        || json!({"a": "x", "b": "y", "list": [1, 2, 3], "number": 7, "object": {"k": "v"}});
    for passing in [
        "value.a == \"x\"",
        "value.a in {\"x\", \"y\"}",
        "not value.a in words",
        "every item in value.list { item > 0 }",
        "some place, item in value.list; place == item - 1",
        "some key, _ in value.object; key == \"k\"",
        "count(large) == 2",
        "value.number == seven",
        "kind(value.number) == \"number\"",
        "is_short(value.a)",
        "not is_short(value.list)",
        "first(value.list) == 1",
        "first([]) == \"none\"",
        "named",
        "x := value.list[2]; x == 3",
        "[a, 2, _] := value.list; a == 1",
        "count({item | some item in value.list; item != 2}) == 2",
        "count([1 | some item in value.list; item != 2]) == 2",
        "object.get(value, \"c\", 0) == 0",
        "sprintf(\"%s-%d\", [value.a, value.number]) == \"x-7\"",
        "({1, 2} | {3}) - {1} == {2, 3}",
        "value.number * 2 == 14",
        "every _ in value.list { true }",
    ] {
        check(passing, "value.a == \"never\"", value(), true);
        check(passing, passing, value(), true);
        check(
            &format!("not seven == 7; {passing}"),
            "value.a == \"never\"",
            value(),
            true,
        );
    }
}

#[test]
fn what_is_odd_is_the_engines() {
    for (passing, objecting) in [
        // Nobody may take what is missing for false.
        ("value.a", "value.missing == 1"),
        ("value.a", "not value.missing == 1"),
        ("not value.missing", "false"),
        ("not startswith(value.missing, \"x\")", "false"),
        ("not is_short(value.missing)", "false"),
        ("every item in value.missing { item }", "false"),
        ("value.a", "some item in value.missing; item"),
        ("value.a", "some item in value.a; item"),
        (
            "count([item | some item in value.list; item.missing]) == 0",
            "false",
        ),
        // Nor what fails.
        ("value.a", "count(value.number) == 1"),
        ("not startswith(value.number, \"x\")", "false"),
        ("not value.number / 0 == 1", "false"),
        ("value.a", "not regex.match(\"(\", value.a)"),
        ("value.a", "first(value.list) == 1 / 0"),
        // What this reader doesn't know.
        ("value.a with input.time as {\"a\": true}", "false"),
        (
            "value.a == \"x\" with input.time as {\"a\": \"x\"}",
            "false",
        ),
        ("x = value.a; x == \"x\"", "false"),
        ("value.list[i] == 2", "i := 3; i == 4"),
        ("some x; value.list[x] == 2", "false"),
        ("every _ in [0] { value.list[_] == 1 }", "false"),
        // Two answers are none.
        ("both(1) == 1", "false"),
    ] {
        let value = json!({"a": "x", "list": [1, 2, 3], "number": 7});
        check(passing, objecting, value, false);
    }
}

#[test]
fn work_and_size_are_bounded() {
    let all = "some a in value.list; ".to_owned();
    let value = json!({"a": "x", "list": vec![1; 100]});
    let deep = format!("{} a == 2", all.repeat(3).replacen("some a", "some b", 2));
    check(
        "value.a",
        &deep.replace(
            "some b in value.list; some b",
            "some b in value.list; some c",
        ),
        value.clone(),
        false,
    );
    let mut doubled = "x0 := value.a".to_owned();
    for number in 1..20 {
        let before = number - 1;
        doubled += &format!("; x{number} := sprintf(\"%s%s\", [x{before}, x{before}])");
    }
    check(
        "value.a",
        &format!("{doubled}; x19 == \"y\""),
        value.clone(),
        false,
    );
    let sum = vec!["1"; 200].join(" + ");
    check("value.a", &format!("{sum} == 3"), value, false);
}

/// A name that means two things is none for this reader.
#[test]
fn a_local_name_that_a_rule_has_too_is_the_engines() {
    for passing in [
        "seven := 8; seven == 8",
        "[seven] := [8]; seven == 8",
        "{\"k\": seven} := {\"k\": 8}; seven == 8",
        "not seven == 7; 8 = seven",
    ] {
        check(passing, "false", json!({}), false);
    }
    check(
        "every seven in value.list { seven == 1 }",
        "false",
        json!({"list": [1]}),
        false,
    );
}

#[test]
fn what_is_read_is_watched() -> Result<(), String> {
    let pack = pack("value.a", "value.b")?;
    let (rules, input) = (rules(&pack), input(&json!({"a": 1, "b": 1})));
    let (group, _) = rules.first().ok_or("no rule")?;
    let right = reads(rules, &input).ok_or("not sure")?;
    let engine = evaluate(rules, &group.together, &input)?;
    assert_eq!(agree(rules, group, &[Some(right.clone())], &engine), Ok(()));
    assert_eq!(agree(rules, group, &[None], &engine), Ok(()));
    for (place, (name, said)) in right.iter().enumerate() {
        let mut wrong = right.clone();
        wrong[place] = (name, said.iter().skip(1).cloned().collect());
        let problem = agree(rules, group, &[Some(wrong)], &engine);
        assert!(
            problem.is_err_and(|problem| problem.contains("`p-rule`")),
            "{name}"
        );
    }
    Ok(())
}

/// Who asks hears of it, whatever the other reading says.
#[test]
fn two_readings_that_differ_are_an_error() -> Result<(), Box<dyn std::error::Error>> {
    let completion = Completion::new(
        r#"{"summary": "s", "risk_level": "low", "risk_reason": "r", "rollback_steps": [],
            "steps": [{"description": "d", "command": "kubectl scale deploy/web -n shop --replicas=2"}]}"#,
        "some-model",
    );
    let plan = Plan::parse(&completion, &IncidentId::new("INC-1")?)?;
    let input = PolicyInput::of_plan(&plan, &Scope::namespaces(["shop"])?, Settings::default());
    for (passing, objecting) in [
        ("is_short(\"three\")", "not is_short(\"three\")"),
        ("not is_short(\"three\")", "is_short(\"three\")"),
    ] {
        let mut pack = pack(passing, objecting)?;
        assert!(pack.evaluate(&input).is_ok());
        if let Body::Rules(rules) = &mut pack.body {
            let shortcut = Arc::get_mut(rules).and_then(|rules| rules.shortcut.as_mut());
            let clauses = shortcut.and_then(|shortcut| shortcut.helpers.get_mut("is_short"));
            clauses.and_then(Vec::pop).ok_or("it has no clause")?;
        }
        let problem = (0..WATCHED).find_map(|_| pack.evaluate(&input).err());
        assert!(problem.is_some_and(|problem| problem.to_string().contains("a bug of Argus")));
    }
    Ok(())
}

fn term() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "value.a",
        "value.b",
        "value.list",
        "value.number",
        "value.object",
        "value.object.k",
        "value.list[0]",
        "value.missing",
        "seven",
        "words",
        "large",
        "listed",
        "named",
        "\"x\"",
        "\"a\"",
        "7",
        "1.0",
        "true",
        "false",
        "null",
        "[]",
        "{\"a\"}",
        "[1, \"a\"]",
        "{\"k\": 1}",
        "local",
        "item",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            (
                select(vec![
                    "count",
                    "is_short",
                    "kind",
                    "first",
                    "lower",
                    "is_object",
                    "to_number",
                    "sum"
                ]),
                inner.clone()
            )
                .prop_map(|(name, term)| format!("{name}({term})")),
            (
                select(vec!["startswith", "contains", "array.concat", "split"]),
                inner.clone(),
                inner.clone()
            )
                .prop_map(|(name, a, b)| format!("{name}({a}, {b})")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("object.get({a}, \"k\", {b})")),
            (
                inner.clone(),
                select(vec!["+", "-", "*", "/", "|", "&"]),
                inner.clone()
            )
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{{a}, {b}}}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{{item | some item in {a}; {b}}}")),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        term(),
        (term(), select(vec!["==", "!=", "<", ">=", "in"]), term())
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
    ];
    let negated = plain.clone().prop_map(|plain| format!("not {plain}"));
    prop_oneof![
        4 => plain.clone(),
        3 => negated.clone(),
        1 => (term(), prop_oneof![plain, negated]).prop_map(|(list, body)| format!("every item in {list} {{ {body} }}")),
        1 => term().prop_map(|list| format!("some entry in {list}; entry")),
        1 => term().prop_map(|term| format!("chosen := {term}; chosen")),
    ]
}

fn body() -> impl Strategy<Value = String> {
    let known = select(vec![
        "local := value.a; some item in value.list",
        "item := value.number; local := value.object",
    ]);
    (known, prop::collection::vec(statement(), 0..3))
        .prop_map(|(known, statements)| [vec![known.into()], statements].concat().join("; "))
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let any = || {
        select(vec![
            json!(null),
            json!(true),
            json!(false),
            json!(0),
            json!(7),
            json!(1.5),
            json!(""),
            json!("x"),
            json!("a"),
            json!("7"),
            json!([]),
            json!([1, 2]),
            json!(["a", null]),
            json!([[1]]),
            json!({}),
            json!({"k": "v"}),
            json!({"a": {"k": 1}}),
        ])
    };
    let fields = select(vec!["a", "b", "list", "number", "object"]);
    prop_oneof![
        1 => any(),
        4 => prop::collection::btree_map(fields, any(), 0..6).prop_map(|fields| json!(fields)),
        4 => (any(), any()).prop_map(|(a, b)| json!({"a": a, "b": b, "list": [1, 2, 3], "number": 7, "object": {"k": "v"}})),
    ]
}

/// What a rule of a pack is worth, by this reader and by the engine. One that holds nowhere has no worth. Likewise what a rule of
/// the manifest says.
#[test]
fn the_engine_says_the_same() {
    let (sure, held, failed, said) = (
        Cell::new(0u32),
        Cell::new(0u32),
        Cell::new(0u32),
        Cell::new(0u32),
    );
    let count = |cell: &Cell<u32>| cell.set(cell.get() + 1);
    let cases = std::env::var("ARGUS_TEST_RULES").map_or(Ok(1000), |text| text.parse());
    let config = ProptestConfig {
        cases: cases.unwrap_or(1000),
        failure_persistence: None,
        max_global_rejects: u32::MAX,
        ..ProptestConfig::default()
    };
    proptest!(config, |(body in body(), term in term(), objecting in body(), values in prop::collection::vec(value(), 20))| {
        let Ok(pack) = pack(&format!("subject\n}}\n\nsubject := {term} if {{ {body}"), &objecting) else {
            return Err(TestCaseError::reject("it doesn't compile"));
        };
        let rules = rules(&pack);
        for value in &values {
            let input = input(value);
            let (_, question) = rules.first().ok_or_else(|| TestCaseError::fail("no question"))?;
            if let (Some(read), Ok(answers)) = (reads(rules, &input), evaluate(rules, question, &input)) {
                count(&said);
                prop_assert_eq!(read, answers, "{} if {} | {}: {}", term, body, objecting, value);
            }
            let shortcut = rules.shortcut.as_ref().ok_or_else(|| TestCaseError::reject("a name means two things"))?;
            let Ok(read) = Reading::new(shortcut, &input).named("subject") else {
                continue;
            };
            count(&sure);
            let mut engine = rules.engine().map_err(TestCaseError::reject)?;
            engine.set_input(input.clone());
            match engine.eval_rule("data.argus.packs.p.subject".into()) {
                Ok(Value::Undefined) => prop_assert!(read.is_none(), "{} if {}: {}", term, body, value),
                Ok(found) => {
                    count(&held);
                    prop_assert_eq!(read.as_deref(), Some(&found), "{} if {}: {}", term, body, value);
                }
                Err(_) => {
                    count(&failed);
                    prop_assert!(read.is_none(), "{} if {}: {}", term, body, value);
                }
            }
        }
    });
    let (sure, held, failed, said) = (sure.get(), held.get(), failed.get(), said.get());
    println!("sure of {sure}: {held} hold, the engine fails at {failed}; sure of {said} answers");
    assert!(
        held > 100 && sure - held > 100 && said > 100,
        "sure of {sure}, {held} hold; sure of {said} answers"
    );
}

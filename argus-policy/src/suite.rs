//! A pack's folder becomes the results of its tests: each `test_` rule of its `*_test.rego` files, one by one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use regorus::unstable::{Module, Rule, RuleHead};
use serde_json::{Map, Value};

use crate::engine::timed;
use crate::pack::{Pack, PackError, read};

/// What the tests of a pack say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Each test, in the order of the files.
    pub tests: Vec<Test>,
    /// The rules of the manifest that no test names.
    pub untested: Vec<String>,
}

/// One `test_` rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// File and line.
    pub place: String,
    /// Why it failed; none if it passed.
    pub failure: Option<String>,
}

impl Suite {
    /// Whether there are tests, all of them pass, and every rule has one.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.tests.is_empty()
            && self.untested.is_empty()
            && self.tests.iter().all(|test| test.failure.is_none())
    }

    /// Runs the tests of the pack in `folder`.
    ///
    /// Tests stand in `*_test.rego`, in the pack's own package, and see the JSON of `NAME_test.json` as
    /// `data.argus_test.NAME`.
    ///
    /// # Errors
    /// [`PackError`] for a folder that is no pack, a test file that doesn't compile, or two tests of one name.
    pub fn run(folder: impl AsRef<Path>) -> Result<Self, PackError> {
        let folder = folder.as_ref();
        let pack = Pack::load(folder)?;
        let unusable = |problem: String| PackError::Rego {
            pack: pack.name().to_owned(),
            problem,
        };
        let files = read(folder, |name| {
            name.ends_with("_test.rego") || name.ends_with("_test.json")
        })?;
        let mut engine = pack.engine();
        let (mut fixtures, mut text) = (Map::new(), String::new());
        let package = format!("data.argus.packs.{}", pack.name());
        let already = engine.get_modules().len();
        for file in files {
            if let Some(name) = file.name.strip_suffix("_test.json") {
                let json: Value = serde_json::from_str(&file.text)
                    .map_err(|error| unusable(format!("{}: {error}", file.name)))?;
                fixtures.insert(name.to_owned(), json);
                continue;
            }
            text.push_str(&file.text);
            let found = engine
                .add_policy(format!("{}/{}", folder.display(), file.name), file.text)
                .map_err(|error| unusable(format!("{error:#}")))?;
            if found != package {
                let problem = format!("{} is package `{found}`, it must be `{package}`", file.name);
                return Err(unusable(problem));
            }
        }
        let data = serde_json::json!({ "argus_test": fixtures }).to_string();
        engine
            .add_data_json(&data)
            .map_err(|error| unusable(format!("the test data: {error:#}")))?;

        let modules = engine.get_modules().clone();
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        let mut tests = Vec::new();
        for (name, place) in modules
            .iter()
            .skip(already)
            .flat_map(|module| test_rules(module))
        {
            if let Some(first) = places.insert(name.clone(), place.clone()) {
                // Either of two would do, and the other could say anything.
                let problem = format!(
                    "{place}: the test `{name}` stands at {first} already: give each a name of its own"
                );
                return Err(unusable(problem));
            }
            let failure = run_one(&engine, &format!("{package}.{name}")).err();
            tests.push(Test {
                name,
                place,
                failure,
            });
        }
        let untested = pack
            .rules()
            .iter()
            .filter(|rule| !text.contains(&format!("\"{}\"", rule.id)));
        Ok(Self {
            untested: untested.map(|rule| rule.id.clone()).collect(),
            tests,
        })
    }
}

fn test_rules(module: &Module) -> Vec<(String, String)> {
    let named = |rule: &regorus::unstable::Ref<Rule>| {
        let Rule::Spec {
            head: RuleHead::Compr { refr, .. },
            ..
        } = rule.as_ref()
        else {
            return None;
        };
        let (span, name) = (refr.span(), refr.span().text().to_owned());
        let place = format!("{}:{}", span.source.file(), span.line);
        name.starts_with("test_").then_some((name, place))
    };
    module.policy.iter().filter_map(named).collect()
}

fn run_one(engine: &regorus::Engine, rule: &str) -> Result<(), String> {
    let mut engine = timed(engine.clone());
    let answer = catch_unwind(AssertUnwindSafe(|| engine.eval_rule(rule.to_owned())));
    match answer {
        Err(_) => Err("the evaluation panicked".into()),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Ok(Ok(regorus::Value::Bool(true))) => Ok(()),
        Ok(Ok(regorus::Value::Undefined)) => {
            Err("it is undefined: a condition does not hold".into())
        }
        Ok(Ok(other)) => Err(format!("it is {other}, not true")),
    }
}

//! A pack's folder becomes the results of its tests: each `test_` rule of its `*_test.rego` files, one by one, and whether
//! they notice when a rule of the manifest falls silent.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use regorus::unstable::{Module, Rule, RuleHead};
use serde_json::{Map, Value};

use crate::clauses::{Clause, clauses};
use crate::gatekeeper;
use crate::hoist::parse;
use crate::lint;
use crate::pack::{Body, File, Pack, PackError, read};
use crate::rules::{DATA, Rules, analysed, empty};

/// How long one question may take.
const TIME_LIMIT: Duration = Duration::from_millis(500);
/// The name below `data` where the JSON of tests stands.
const TEST_DATA: &str = "argus_test";

/// What the tests of a pack say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Each test, in the order of the files.
    pub tests: Vec<Test>,
    /// What could be taken out of the pack without any test noticing, such as "the rule `acme-copies` never denies".
    pub unnoticed: Vec<String>,
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
    /// What is wrong, each in one line; nothing if the tests hold the pack.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let failed = self.tests.iter().filter_map(|test| {
            let why = test.failure.as_ref()?;
            Some(format!("{} ({}): {why}", test.name, test.place))
        });
        failed.chain(self.shortcomings())
    }

    /// What is wrong with the tests as a whole: there are none, or they let something pass unnoticed.
    pub fn shortcomings(&self) -> impl Iterator<Item = String> {
        let none = self.tests.is_empty().then(|| "it has no tests".to_owned());
        let unnoticed = self.unnoticed.iter();
        let unnoticed = unnoticed.map(|what| format!("no test goes red if {what}"));
        none.into_iter().chain(unnoticed)
    }

    /// Runs the tests of the pack in `folder`, and then again with each rule of the manifest silent.
    ///
    /// Tests stand in `*_test.rego`, in the pack's own package, and see the JSON of `NAME_test.json` as
    /// `data.argus_test.NAME`.
    ///
    /// # Errors
    /// [`PackError`] for a folder that is no pack, a test file that doesn't compile, or two tests of one name.
    pub fn run(folder: impl AsRef<Path>) -> Result<Self, PackError> {
        let folder = folder.as_ref();
        Self::of(|| Pack::load(folder), folder)
    }

    /// The same for a pack that was loaded from `folder`: what is tested is what will decide.
    fn of(
        pack: impl FnOnce() -> Result<Pack, PackError>,
        folder: &Path,
    ) -> Result<Self, PackError> {
        match Self::of_gator(folder)? {
            Some(suite) => Ok(suite),
            None => Bench::new(&pack()?, folder)?.ask(Bench::run),
        }
    }

    /// That the tests of a pack that was loaded from `folder` hold it.
    pub(crate) fn holds(pack: &Pack, folder: &Path) -> Result<(), PackError> {
        let suite = Self::of(|| Ok(pack.clone()), folder)?;
        let problem = suite.problems().next();
        let wrong = |problem| PackError::Tests {
            folder: folder.display().to_string(),
            problem,
        };
        problem.map_or(Ok(()), |problem| Err(wrong(problem)))
    }

    /// A `suite.yaml` of `gator verify`, if there is one.
    fn of_gator(folder: &Path) -> Result<Option<Self>, PackError> {
        let Some(suite) = read(folder, |name| name == "suite.yaml")?.pop() else {
            return Ok(None);
        };
        let cases = gatekeeper::run_suite(folder, &suite).map_err(|problem| PackError::Rego {
            pack: folder.display().to_string(),
            problem,
        })?;
        let test = |(name, failure)| Test {
            name,
            place: folder.join("suite.yaml").display().to_string(),
            failure,
        };
        Ok(Some(Self {
            tests: cases.into_iter().map(test).collect(),
            unnoticed: Vec::new(),
        }))
    }
}

#[cfg(feature = "cli")]
impl Suite {
    /// The lines of the pack in `folder` that no test reaches, as file and line.
    ///
    /// # Errors
    /// As [`Suite::run`].
    pub fn unreached(folder: impl AsRef<Path>) -> Result<Vec<String>, PackError> {
        let folder = folder.as_ref();
        Bench::new(&Pack::load(folder)?, folder)?.ask(Bench::unreached)
    }
}

/// A pack with its tests.
struct Bench {
    folder: String,
    name: String,
    rules: Arc<Rules>,
    files: Vec<File>,
}

impl Bench {
    fn new(pack: &Pack, folder: &Path) -> Result<Self, PackError> {
        let Body::Rules(rules) = pack.body.clone() else {
            return Err(PackError::Rego {
                pack: pack.name().to_owned(),
                problem: "a Gatekeeper template is tested by a suite.yaml, as `gator verify` has it, and there is none".into(),
            });
        };
        let bench = Self {
            folder: folder.display().to_string(),
            name: pack.name().to_owned(),
            rules,
            files: read(folder, |name| {
                name.ends_with("_test.rego") || name.ends_with("_test.json")
            })?,
        };
        bench.ask(Self::lint)?;
        Ok(bench)
    }

    /// That the tests end, and do nothing that a pack may not do, before anything of them is evaluated.
    fn lint(&self) -> Result<(), String> {
        let mut texts = self.rules.sources.files();
        let rego = self
            .files
            .iter()
            .filter(|file| file.name.ends_with(".rego"));
        texts.extend(rego.map(|file| (self.path(file), file.text.clone())));
        let mut parsed = parse(|| empty(true), &mut texts)?;
        let packages = parsed.engine.get_packages();
        let packages = packages.map_err(|error| format!("{error:#}"))?;
        let wanted = self.package();
        if let Some((found, (path, _))) = packages
            .iter()
            .zip(&texts)
            .find(|(found, _)| **found != wanted)
        {
            return Err(format!(
                "{path} is package `{found}`, it must be `{wanted}`"
            ));
        }
        let modules = parsed.engine.get_modules();
        let clauses: Vec<Clause> = modules
            .iter()
            .zip(&parsed.words)
            .flat_map(|(module, words)| clauses(module, words))
            .collect();
        let any = Value::Bool(true);
        lint::check(
            modules,
            &parsed.words,
            clauses.iter(),
            &[DATA, TEST_DATA],
            &any,
        )
    }

    fn path(&self, file: &File) -> String {
        format!("{}/{}", self.folder, file.name)
    }

    fn ask<T>(&self, question: impl Fn(&Self) -> Result<T, String>) -> Result<T, PackError> {
        question(self).map_err(|problem| PackError::Rego {
            pack: self.name.clone(),
            problem,
        })
    }

    fn package(&self) -> String {
        format!("data.argus.packs.{}", self.name)
    }

    #[cfg(feature = "cli")]
    fn unreached(&self) -> Result<Vec<String>, String> {
        let mut engine = self.engine(|_| false)?;
        engine.set_enable_coverage(true);
        for (name, _) in test_rules(engine.get_modules())? {
            // One engine for all of them: it counts together what each reaches. Those that fail are the suite's.
            let ask = || engine.eval_rule(format!("{}.{name}", self.package()));
            drop(catch_unwind(AssertUnwindSafe(ask)));
        }
        let report = engine
            .get_coverage_report()
            .map_err(|error| format!("{error:#}"))?;
        let files = report.files.into_iter();
        let own = files.filter(|file| !file.path.ends_with("_test.rego"));
        let lines = own.flat_map(|file| {
            let lines = file.not_covered.into_iter();
            lines
                .map(move |line| format!("{}:{line}", file.path))
                .collect::<Vec<_>>()
        });
        Ok(lines.collect())
    }

    fn run(&self) -> Result<Suite, String> {
        let mut engine = self.engine(|_| false)?;
        let tests = test_rules(engine.get_modules())?;
        let ask = |engine: &regorus::Engine, name: &str| {
            run_one(engine, &format!("{}.{name}", self.package())).err()
        };
        let tests: Vec<Test> = tests
            .into_iter()
            .map(|(name, place)| Test {
                failure: ask(&engine, &name),
                name,
                place,
            })
            .collect();
        let mut unnoticed = Vec::new();
        // Tests that fail, or that aren't there, notice nothing.
        if tests.iter().all(|test| test.failure.is_none()) && !tests.is_empty() {
            for (index, rule) in self.rules.sources.rules().iter().enumerate() {
                for (objects, what) in [(true, "never objects"), (false, "never passes")] {
                    let silent =
                        |clause: &Clause| clause.rule == Some(index) && clause.objects() == objects;
                    let engine = self.engine(silent)?;
                    if tests.iter().all(|test| ask(&engine, &test.name).is_none()) {
                        unnoticed.push(format!("the rule `{}` {what}", rule.id));
                    }
                }
            }
        }
        Ok(Suite { tests, unnoticed })
    }

    /// The pack with its tests, but for the clauses that are to be silent.
    fn engine(&self, silent: impl Fn(&Clause) -> bool) -> Result<regorus::Engine, String> {
        let mut engine = self.rules.sources.engine(silent)?;
        let mut fixtures = Map::new();
        for file in &self.files {
            if let Some(name) = file.name.strip_suffix("_test.json") {
                let json: Value = serde_json::from_str(&file.text)
                    .map_err(|error| format!("{}: {error}", file.name))?;
                fixtures.insert(name.to_owned(), json);
                continue;
            }
            engine
                .add_policy(self.path(file), file.text.clone())
                .map_err(|error| format!("{error:#}"))?;
        }
        let data = serde_json::json!({ TEST_DATA: fixtures }).to_string();
        engine
            .add_data_json(&data)
            .map_err(|error| format!("the test data: {error:#}"))?;
        analysed(engine)
    }
}

/// Name and place of each test.
fn test_rules(modules: &[regorus::unstable::Ref<Module>]) -> Result<Vec<(String, String)>, String> {
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let mut tests = Vec::new();
    for rule in modules.iter().flat_map(|module| &module.policy) {
        let Rule::Spec {
            head: RuleHead::Compr { refr, .. },
            ..
        } = rule.as_ref()
        else {
            continue;
        };
        let (span, name) = (refr.span(), refr.span().text().to_owned());
        if !name.starts_with("test_") {
            continue;
        }
        let place = format!("{}:{}", span.source.file(), span.line);
        if let Some(first) = places.insert(name.clone(), place.clone()) {
            // Either of two would do, and the other could say anything.
            return Err(format!(
                "{place}: the test `{name}` stands at {first} already: give each a name of its own"
            ));
        }
        tests.push((name, place));
    }
    Ok(tests)
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

/// The same engine, with a limit to what one question may take.
pub(crate) fn timed(mut engine: regorus::Engine) -> regorus::Engine {
    if let Some(check_interval) = NonZeroU32::new(64) {
        engine.set_execution_timer_config(regorus::utils::limits::ExecutionTimerConfig {
            limit: TIME_LIMIT,
            check_interval,
        });
    }
    engine
}
